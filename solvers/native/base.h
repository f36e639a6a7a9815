#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The loops over lanes have independent iterations: a lane reads and writes only its own column. */
#if defined(_OPENMP) || defined(OMP_SIMD)
#define SIMD _Pragma("omp simd")
#elif defined(__clang__)
#define SIMD _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define SIMD _Pragma("GCC ivdep")
#else
#define SIMD
#endif

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) < (b) ? (b) : (a))

#if defined(_OPENMP)
enum { PARALLEL = 1 };
#else
enum { PARALLEL = 0 };
#endif

/*: intrinsics */
#if defined(__SSE2__)
#include <immintrin.h>
#endif

/*: denormals intrinsics */
/* Adjoints decay geometrically; denormal numbers would make the last part of a long sequence many times slower. */
static unsigned denormals_off(void)
{
#if defined(__SSE2__)
    unsigned old = _mm_getcsr();
    _mm_setcsr(old | 0x8040);
    return old;
#else
    return 0;
#endif
}

static void denormals_restore(unsigned old)
{
#if defined(__SSE2__)
    _mm_setcsr(old);
#else
    (void)old;
#endif
}

/*: prefetch */
enum { AHEAD = 2 }; /* steps */

/* Rows of successive steps lie far apart, and in reverse: the hardware does not foresee them. */
static void prefetch(int64_t n, const real *row)
{
#if defined(__GNUC__)
    for (int64_t j = 0; j < n; j += 64 / (int64_t)sizeof(real))
        __builtin_prefetch(row + j);
#else
    (void)n, (void)row;
#endif
}

/*: prefetch_to_write prefetch */
static void prefetch_to_write(int64_t n, real *row)
{
#if defined(__GNUC__)
    for (int64_t j = 0; j < n; j += 64 / (int64_t)sizeof(real))
        __builtin_prefetch(row + j, 1);
#else
    (void)n, (void)row;
#endif
}

/*: lines */
/* Memory that starts a cache line. */
static void *lines(size_t size)
{
    return aligned_alloc(64, (size + 64) / 64 * 64);
}

/*: pack intrinsics */
/* Bit j of `words` is set where row[j] is not 0, for the n lanes of a row. */
static void pack(long n, const real *row, uint64_t *words)
{
    memset(words, 0, (size_t)((n + 63) / 64) * sizeof *words);
    long j = 0;
#if defined(__AVX512F__)
    for (; j < n; j += 64 / (long)sizeof(real)) {
#if REAL_IS_DOUBLE
        __mmask8 lanes = (__mmask8)(n - j >= 8 ? 0xff : (1 << (n - j)) - 1);
        __m512d v = _mm512_maskz_loadu_pd(lanes, row + j);
        __mmask8 bits = _mm512_cmp_pd_mask(v, _mm512_setzero_pd(), _CMP_NEQ_UQ);
#else
        __mmask16 lanes = (__mmask16)(n - j >= 16 ? 0xffff : (1 << (n - j)) - 1);
        __m512 v = _mm512_maskz_loadu_ps(lanes, row + j);
        __mmask16 bits = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#endif
        memcpy((char *)words + j / 8, &bits, sizeof bits);
    }
#elif defined(__AVX__)
    for (; j + 8 <= n; j += 8) {
#if REAL_IS_DOUBLE
        __m256d low = _mm256_cmp_pd(_mm256_loadu_pd(row + j), _mm256_setzero_pd(), _CMP_NEQ_UQ);
        __m256d high = _mm256_cmp_pd(_mm256_loadu_pd(row + j + 4), _mm256_setzero_pd(), _CMP_NEQ_UQ);
        int bits = _mm256_movemask_pd(low) | _mm256_movemask_pd(high) << 4;
#else
        int bits = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(row + j), _mm256_setzero_ps(), _CMP_NEQ_UQ));
#endif
        words[j / 64] |= (uint64_t)(unsigned)bits << (j % 64);
    }
#endif
    for (; j < n; j++)
        words[j / 64] |= (uint64_t)(row[j] != 0) << (j % 64);
}

/*: unpack intrinsics */
/* The inverse of `pack`: 0.0 and 1.0. Writes whole groups of 16 lanes. */
static void unpack(long n, const uint64_t *words, real *row)
{
    for (long j = 0; j < n; j += 16) {
        const uint32_t bits = (uint32_t)(words[j / 64] >> (j % 64)) & 0xffff;
#if defined(__AVX512F__) && REAL_IS_DOUBLE
        _mm512_storeu_pd(row + j, _mm512_maskz_mov_pd((__mmask8)bits, _mm512_set1_pd(1)));
        _mm512_storeu_pd(row + j + 8, _mm512_maskz_mov_pd((__mmask8)(bits >> 8), _mm512_set1_pd(1)));
#elif defined(__AVX512F__)
        _mm512_storeu_ps(row + j, _mm512_maskz_mov_ps((__mmask16)bits, _mm512_set1_ps(1)));
#else
        for (int i = 0; i < 16; i++)
            row[j + i] = (real)(int)((bits >> i) & 1);
#endif
    }
}
