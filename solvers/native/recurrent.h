/* A recurrent layer works on blocks of samples; a row holds the neurons of one sample, padded to whole vectors.
   Sums over blocks go to a fixed number of slots, so that they do not depend on the number of threads. */
enum { BLOCK = 8, SLOTS = 8, PAD = 16 };

#if defined(__AVX512F__)
enum { VECTOR = 64 / sizeof(real) };
#elif defined(__AVX__)
enum { VECTOR = 32 / sizeof(real) };
#else
enum { VECTOR = 16 / sizeof(real) };
#endif
typedef real Vector __attribute__((vector_size(VECTOR * sizeof(real)), may_alias));
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static int64_t padded(int64_t neurons) { return (neurons + PAD - 1) / PAD * PAD; }

/* A padded copy of a row; the padding repeats the first number, so that it behaves like a neuron. */
static void copy_padded(int64_t neurons, const real *from, real *to)
{
    memcpy(to, from, (size_t)neurons * sizeof(real));
    for (int64_t j = neurons; j < padded(neurons); j++)
        to[j] = from[0];
}

/* Copies a row of n numbers. Rows are short: a call of memcpy would cost as much as it copies, and overlapping stores
   would stall the loads that follow. `padding`: the target is a padded row, whose padding becomes 0. */
static inline void copy_row(int64_t n, const real *from, real *to, const int padding)
{
    int64_t j = 0;
    for (; j + PAD <= n; j += PAD)
        memcpy(to + j, from + j, PAD * sizeof(real));
#if defined(__AVX512F__)
    for (; j < n; j += VECTOR) {
#if REAL_IS_DOUBLE
        const __mmask8 lanes = (__mmask8)(n - j >= 8 ? 0xff : (1 << (n - j)) - 1);
        _mm512_mask_storeu_pd(to + j, padding ? 0xff : lanes, _mm512_maskz_loadu_pd(lanes, from + j));
#else
        const __mmask16 lanes = (__mmask16)(n - j >= 16 ? 0xffff : (1 << (n - j)) - 1);
        _mm512_mask_storeu_ps(to + j, padding ? 0xffff : lanes, _mm512_maskz_loadu_ps(lanes, from + j));
#endif
    }
#else
    (void)padding;
    for (; j < n; j++)
        to[j] = from[j];
#endif
}

static inline void copy_in(int64_t n, const real *from, real *row) { copy_row(n, from, row, 1); }
static inline void copy_out(int64_t n, const real *row, real *to) { copy_row(n, row, to, 0); }
static void zero(int64_t n, real *to) { memset(to, 0, (size_t)n * sizeof(real)); }

/* rows[i][j] = matrix[i][j], or of its transpose, each row padded with zeros. */
static real *padded_matrix(int64_t n, const real *matrix, int transposed)
{
    const int64_t width = padded(n);
    real *rows = lines((size_t)(n * width) * sizeof(real));
    for (int64_t i = 0; rows && i < n; i++) {
        for (int64_t j = 0; j < n; j++)
            rows[i * width + j] = transposed ? matrix[j * n + i] : matrix[i * n + j];
        zero(width - n, rows + i * width + n);
    }
    return rows;
}

/* The neurons whose last output is not 0; returns how many. */
static int64_t find_active(int64_t n, const real *output, int32_t *active)
{
    int64_t count = 0;
    for (int64_t first = 0; first < n; first += 64) {
        uint64_t bits;
        pack(MIN(64, n - first), output + first, &bits);
        for (; bits; bits &= bits - 1)
            active[count++] = (int32_t)(first + __builtin_ctzll(bits));
    }
    return count;
}

/* `wide` vectors of: to += sum over active neurons of their output times their row. */
ALWAYS_INLINE void gather(const int wide, int64_t count, const int32_t *active, const real *output, const real *rows,
                          int64_t width, real *to)
{
    Vector sum[8];
    for (int m = 0; m < wide; m++)
        sum[m] = ((const Vector *)to)[m];
    for (int64_t i = 0; i < count; i++) {
        const Vector *row = (const Vector *)(rows + active[i] * width);
        const real factor = output[active[i]];
        for (int m = 0; m < wide; m++)
            sum[m] += factor * row[m];
    }
    for (int m = 0; m < wide; m++)
        ((Vector *)to)[m] = sum[m];
}

/* `wide` vectors of: the row of each active neuron += its output times `from`. */
ALWAYS_INLINE void scatter(const int wide, int64_t count, const int32_t *active, const real *output, real *rows,
                           int64_t width, const real *from)
{
    Vector term[8];
    for (int m = 0; m < wide; m++)
        term[m] = ((const Vector *)from)[m];
    for (int64_t i = 0; i < count; i++) {
        Vector *row = (Vector *)(rows + active[i] * width);
        const real factor = output[active[i]];
        for (int m = 0; m < wide; m++)
            row[m] += factor * term[m];
    }
}

#define EIGHT_WIDTHS(call) \
    switch (wide) { \
    case 1: call(1); break; \
    case 2: call(2); break; \
    case 3: call(3); break; \
    case 4: call(4); break; \
    case 5: call(5); break; \
    case 6: call(6); break; \
    case 7: call(7); break; \
    default: call(8); \
    }

static void add_active_rows(int64_t count, const int32_t *active, const real *output, const real *rows, int64_t width,
                            real *to)
{
    for (int64_t j = 0; j < width; j += 8 * VECTOR) {
        const int64_t wide = (width - j) / VECTOR;
#define GATHER(w) gather(w, count, active, output, rows + j, width, to + j)
        EIGHT_WIDTHS(GATHER)
    }
}

static void add_to_active_rows(int64_t count, const int32_t *active, const real *output, real *rows, int64_t width,
                               const real *from)
{
    for (int64_t j = 0; j < width; j += 8 * VECTOR) {
        const int64_t wide = (width - j) / VECTOR;
#define SCATTER(w) scatter(w, count, active, output, rows + j, width, from + j)
        EIGHT_WIDTHS(SCATTER)
    }
}

/* A register tile of to[s] = sum over i of from[s][i]*rows[i], for `samples` rows and `wide` vectors. */
ALWAYS_INLINE void tile_product(const int samples, const int wide, int64_t n, const real *from, const real *rows,
                                int64_t width, real *to)
{
    Vector sum[8][3];
    for (int s = 0; s < samples; s++)
        for (int m = 0; m < wide; m++)
            sum[s][m] = (Vector){0};
    for (int64_t i = 0; i < n; i++) {
        const Vector *row = (const Vector *)(rows + i * width);
        for (int s = 0; s < samples; s++)
            for (int m = 0; m < wide; m++)
                sum[s][m] += from[s * width + i] * row[m];
    }
    for (int s = 0; s < samples; s++)
        for (int m = 0; m < wide; m++)
            ((Vector *)(to + s * width))[m] = sum[s][m];
}

/* to[s] = sum over i of from[s][i]*rows[i], for the samples of a block. */
static void product(int64_t samples, int64_t n, const real *from, const real *rows, int64_t width, real *to)
{
#define TILE(s, w) tile_product(s, w, n, from + done * width, rows + j, width, to + done * width + j)
#define WIDTHS(s) \
    switch (wide) { \
    case 1: TILE(s, 1); break; \
    case 2: TILE(s, 2); break; \
    default: TILE(s, 3); \
    }
    const int64_t most = VECTOR * (width / VECTOR % 3 && width / VECTOR % 2 == 0 ? 2 : 3);
    for (int64_t j = 0; j < width; j += most) {
        const int64_t wide = MIN(most, width - j) / VECTOR;
        for (int64_t done = 0; done < samples;) {
            const int64_t left = samples - done;
            if (left >= 8) {
                WIDTHS(8)
                done += 8;
            } else if (left >= 4) {
                WIDTHS(4)
                done += 4;
            } else {
                WIDTHS(1)
                done += 1;
            }
        }
    }
}

/* Coefficients as padded rows; one number stays where it lies. */
static void pad_coefficients(int64_t neurons, const real *const *given, real *rows, const real **used)
{
    for (int i = 0; i < N_COEFFICIENTS; i++) {
        used[i] = given[i];
        if (!PER_NEURON[i])
            continue;
        used[i] = rows + i * padded(neurons);
        copy_padded(neurons, given[i], rows + i * padded(neurons));
    }
}

/* input += bias + the columns of the active neurons. */
static void add_drive(const real *bias, int64_t n, const real *last, const real *columns, int64_t width, int32_t *active,
                      real *input)
{
    const int64_t count = find_active(n, last, active);
    for (int64_t j = 0; bias && j < n; j++)
        input[j] += bias[j];
    add_active_rows(count, active, last, columns, width, input);
}
