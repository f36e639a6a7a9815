/* The numbers of on_numpy/random.py: Threefry-2x32 with 20 rounds, one block an entry. */
enum { BLOCK = 512 }; /* entries whose words stay in the first cache */

static inline uint32_t rotated(uint32_t x, int r) { return x << r | x >> (32 - r); }

#define ROUNDS(a, b, c, d, first, second, n) \
    x += y, y = rotated(y, a) ^ x, x += y, y = rotated(y, b) ^ x; \
    x += y, y = rotated(y, c) ^ x, x += y, y = rotated(y, d) ^ x; \
    x += first, y += second + n;

/* xs, ys: counters on entry, words on return; seeds: the first word of each key, `name` the second. */
static void words(int n, const uint32_t *seeds, uint32_t name, uint32_t *xs, uint32_t *ys)
{
    SIMD
    for (int j = 0; j < n; j++) {
        const uint32_t k = seeds[j], m = k ^ name ^ UINT32_C(0x1BD11BDA);
        uint32_t x = xs[j] + k, y = ys[j] + name;
        ROUNDS(13, 15, 26, 6, name, m, 1)
        ROUNDS(17, 29, 16, 24, m, k, 2)
        ROUNDS(13, 15, 26, 6, k, name, 3)
        ROUNDS(17, 29, 16, 24, name, m, 4)
        ROUNDS(13, 15, 26, 6, m, k, 5)
        xs[j] = x, ys[j] = y;
    }
}

static void uniforms(int n, const uint32_t *xs, const uint32_t *ys, real *to)
{
    SIMD
    for (int j = 0; j < n; j++) {
#if REAL_IS_DOUBLE
        to[j] = ((double)(int64_t)((uint64_t)xs[j] << 20 | ys[j] >> 12) + 0.5) * 0x1p-52;
#else
        to[j] = ((float)(int32_t)(xs[j] >> 9) + 0.5f) * 0x1p-23f;
#endif
    }
}

/* f = m*2^k with m in [1, 2); returns k. */
static inline int split(real f, real *m)
{
#if REAL_IS_DOUBLE
    uint64_t bits;
    memcpy(&bits, &f, sizeof f);
    const int k = (int)(bits >> 52) - 1023;
    bits = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(0x3ff0000000000000);
#else
    uint32_t bits;
    memcpy(&bits, &f, sizeof f);
    const int k = (int)(bits >> 23) - 127;
    bits = (bits & UINT32_C(0x7fffff)) | UINT32_C(0x3f800000);
#endif
    memcpy(m, &bits, sizeof bits);
    return k;
}

/* sin(pi x) for |x| <= 1/2, by its series. */
static inline real sine(real x)
{
    const real z = x * (real)3.14159265358979323846, q = -z * z;
    real p = (real)(1 / 6227020800.);
#if REAL_IS_DOUBLE
    p = 1 / 51090942171709440000. + q * (1 / 25852016738884976640000.);
    p = 1 / 121645100408832000. + q * p;
    p = 1 / 355687428096000. + q * p;
    p = 1 / 1307674368000. + q * p;
    p = 1 / 6227020800. + q * p;
#endif
    p = (real)(1 / 39916800.) + q * p;
    p = (real)(1 / 362880.) + q * p;
    p = (real)(1 / 5040.) + q * p;
    p = (real)(1 / 120.) + q * p;
    p = (real)(1 / 6.) + q * p;
    return z + z * q * p;
}

/* sqrt(-2 log u) cos(pi h); with f the distance of u from 0 or 1, whichever is nearer, in units of 2^-32. */
static void normals(int n, const uint32_t *xs, const uint32_t *ys, real *to)
{
    SIMD
    for (int j = 0; j < n; j++) {
        const int32_t high = -(int32_t)(xs[j] >> 31); /* all ones where u is above 1/2 */
        const real f = (real)((int32_t)xs[j] ^ high) + (real)0.5, tail = f * (real)0x1p-32;
        real m;
        const real whole = (real)(32 - split(f, &m)) * (real)0.693147180559945309417;
        const real log_of = log1p_unit(high ? tail / (1 - tail) : m - 1);
        const real h = ((real)(int32_t)ys[j] + (real)0.5) * (real)0x1p-31;
        to[j] = REAL_SQRT(2 * (high ? log_of : whole - log_of)) * sine((real)0.5 - (h < 0 ? -h : h));
    }
}

typedef struct {
    int64_t normal, name, steps, samples, lanes, threads;
    const int64_t *seeds, *first; /* (samples): seed and number of the first step */
    int64_t key_step;             /* between the entries of both */
    real *to;                     /* (steps, samples, lanes) */
} draw_call;

static void draw_block(const draw_call *c, int64_t t, int64_t start, int n)
{
    uint32_t seeds[BLOCK], xs[BLOCK], ys[BLOCK];
    real *to = c->to + t * c->samples * c->lanes + start;
    int64_t b = start / c->lanes;
    for (int j = 0; j < n; b++) {
        const int stop = (int)MIN((int64_t)n, (b + 1) * c->lanes - start);
        const uint32_t seed = (uint32_t)c->seeds[b * c->key_step], at = (uint32_t)(c->first[b * c->key_step] + t);
        for (; j < stop; j++)
            seeds[j] = seed, xs[j] = at, ys[j] = (uint32_t)(start + j);
    }
    words(n, seeds, (uint32_t)c->name, xs, ys);
    (c->normal ? normals : uniforms)(n, xs, ys, to);
}

void draw(const draw_call *c)
{
    const int64_t row = c->samples * c->lanes, blocks = (row + BLOCK - 1) / BLOCK, all = c->steps * blocks;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads((int)c->threads) if (c->threads > 1)
#endif
    for (int64_t i = 0; i < all; i++) {
        const int64_t start = i % blocks * BLOCK;
        draw_block(c, i / blocks, start, (int)MIN((int64_t)BLOCK, row - start));
    }
}
