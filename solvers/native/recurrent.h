/* A recurrent layer works on blocks of samples. A row of a block holds its samples one after another, as they lie in the
   caller's arrays, with room for one vector behind. Sums over blocks go to a fixed number of slots, so that they do not
   depend on the number of threads. */
enum { SLOTS = 8, PAD = 16 };

#if defined(__AVX512F__)
enum { VECTOR = 64 / sizeof(real) };
#elif defined(__AVX__)
enum { VECTOR = 32 / sizeof(real) };
#else
enum { VECTOR = 16 / sizeof(real) };
#endif
typedef real Vector __attribute__((vector_size(VECTOR * sizeof(real)), aligned(sizeof(real)), may_alias));
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Neurons of a row of weights, padded with zeros to whole vectors. */
static int64_t padded(int64_t neurons) { return (neurons + PAD - 1) / PAD * PAD; }

/* Numbers in a row of a block. */
static int64_t row_length(int64_t neurons) { return padded(BLOCK * neurons) + PAD; }

static int64_t words_of_block(int64_t neurons) { return (BLOCK * neurons + 63) / 64; }

static void copy(int64_t n, const real *from, real *to) { memcpy(to, from, (size_t)n * sizeof(real)); }
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

/* One row of N numbers for every sample of a block. */
static void repeat(int64_t neurons, const real *from, real *row)
{
    for (int64_t b = 0; b < BLOCK; b++)
        copy(neurons, from, row + b * neurons);
}

/* Coefficients as rows of a block; one number stays where it lies. */
static void repeat_coefficients(int64_t neurons, const real *const *given, real *rows, const real **used)
{
    for (int i = 0; i < N_COEFFICIENTS; i++) {
        used[i] = PER_NEURON[i] ? rows + i * row_length(neurons) : given[i];
        if (PER_NEURON[i])
            repeat(neurons, given[i], rows + i * row_length(neurons));
    }
}

/* Of each row, what belongs to the samples that have ended before step t. */
static void copy_ended(const int64_t *lengths, int64_t samples, int64_t neurons, int64_t t, int64_t rows,
                       const real *from, real *to)
{
    for (int64_t b = 0; b < samples; b++)
        for (int64_t i = 0; t >= lengths[b] && i < rows; i++)
            copy(neurons, from + i * row_length(neurons) + b * neurons, to + i * row_length(neurons) + b * neurons);
}

/* The caller's row of step t: 0 for the samples that have ended. */
static void zero_ended(const int64_t *lengths, int64_t samples, int64_t neurons, int64_t t, real *row)
{
    for (int64_t b = 0; b < samples; b++)
        if (t >= lengths[b])
            zero(neurons, row + b * neurons);
}

/* The neurons of a block whose last output is not 0: those of sample b are index[start[b]] to index[start[b+1] - 1]. */
typedef struct {
    int32_t start[BLOCK + 1];
    int32_t *index;
    uint64_t *words;
} Active;

static void find_active(int64_t samples, int64_t neurons, const real *output, Active *active)
{
    pack(samples * neurons, output, active->words);
    int32_t count = 0;
    int64_t b = 0, end = neurons;
    active->start[0] = 0;
    for (int64_t w = 0; w * 64 < samples * neurons; w++)
        for (uint64_t bits = active->words[w]; bits; bits &= bits - 1) {
            const int64_t lane = w * 64 + __builtin_ctzll(bits);
            for (; lane >= end; end += neurons)
                active->start[++b] = count;
            active->index[count++] = (int32_t)(lane - end + neurons);
        }
    while (b < samples)
        active->start[++b] = count;
}

/* `wide` vectors of: to = from + sum over active neurons of their output times their row. */
ALWAYS_INLINE void gather(const int wide, int64_t count, const int32_t *active, const real *output, const real *rows,
                          int64_t width, const real *from, real *to)
{
    Vector sum[8];
    for (int m = 0; m < wide; m++)
        sum[m] = ((const Vector *)from)[m];
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

/* to = from + sum over active neurons of their output times their row, and the reverse. Both write whole vectors. */
static void add_active_rows(int64_t count, const int32_t *active, const real *output, const real *rows, int64_t width,
                            const real *from, real *to)
{
    for (int64_t j = 0; j < width; j += 8 * VECTOR) {
        const int64_t wide = (width - j) / VECTOR;
#define GATHER(w) gather(w, count, active, output, rows + j, width, from + j, to + j)
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

/* The driven input of a block: input + bias + what the active neurons send. Samples in ascending order: the vector that
   reaches beyond one sample is overwritten by the next. */
static void drive(int64_t samples, int64_t neurons, const real *input, const real *bias, const real *output,
                  const real *columns, Active *active, real *start, real *driven)
{
    const int64_t width = padded(neurons), lanes = samples * neurons;
    SIMD
    for (int64_t j = 0; j < lanes; j++)
        start[j] = input[j] + bias[j];
    find_active(samples, neurons, output, active);
    for (int64_t b = 0; b < samples; b++) {
        const int32_t first = active->start[b], count = active->start[b + 1] - first;
        add_active_rows(count, active->index + first, output + b * neurons, columns, width, start + b * neurons,
                        driven + b * neurons);
    }
}

/* A register tile of to[s] = sum over i of from[s][i]*rows[i], for `samples` samples and `wide` vectors. */
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
                sum[s][m] += from[s * n + i] * row[m];
    }
    for (int s = 0; s < samples; s++)
        for (int m = 0; m < wide; m++)
            ((Vector *)(to + s * n))[m] = sum[s][m];
}

/* to[s] = sum over i of from[s][i]*rows[i], for the samples of a block. The last columns come first: the vector that
   reaches beyond one sample is overwritten by the next. */
static void product(int64_t samples, int64_t n, const real *from, const real *rows, real *to)
{
#define TILE(s, w) tile_product(s, w, n, from + done * n, rows + j, width, to + done * n + j)
#define WIDTHS(s) \
    switch (wide) { \
    case 1: TILE(s, 1); break; \
    case 2: TILE(s, 2); break; \
    default: TILE(s, 3); \
    }
    const int64_t width = padded(n), vectors = width / VECTOR, most = vectors % 3 && vectors % 2 == 0 ? 2 : 3;
    for (int64_t j = (vectors - 1) / most * most * VECTOR; j >= 0; j -= most * VECTOR) {
        const int64_t wide = MIN(most, vectors - j / VECTOR);
        for (int64_t done = 0; done < samples;) {
            if (samples - done >= 8) {
                WIDTHS(8)
                done += 8;
            } else if (samples - done >= 4) {
                WIDTHS(4)
                done += 4;
            } else {
                WIDTHS(1)
                done += 1;
            }
        }
    }
}

/* Memory of a thread, cut into arrays of rows. */
typedef struct {
    real **place;
    int64_t rows;
} Part;

static real *cut(const Part *parts, int count, int64_t neurons, Active *active)
{
    const int64_t length = row_length(neurons);
    int64_t rows = 0;
    for (int i = 0; i < count; i++)
        rows += parts[i].rows;
    const size_t words = (size_t)words_of_block(neurons) * sizeof(uint64_t);
    real *memory = lines((size_t)(rows * length) * sizeof(real) + words + (size_t)length * sizeof(int32_t));
    if (!memory)
        return NULL;
    real *next = memory;
    for (int i = 0; i < count; i++) {
        *parts[i].place = next;
        next += parts[i].rows * length;
    }
    active->words = (uint64_t *)next;
    active->index = (int32_t *)(active->words + words_of_block(neurons));
    memset(memory, 0, (size_t)(rows * length) * sizeof(real));
    return memory;
}
