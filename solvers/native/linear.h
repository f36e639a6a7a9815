/* Products of a long sequence with a matrix of which one side is short. A row is one step of one sample. Vectors run over
   the columns of a row and may reach beyond its end: there the next row, written later, or spare memory. */
enum { GROUP = 8, SLICE = 512, CHUNK = 256, SLOTS = 8 };

#if defined(__AVX512F__)
enum { VECTOR = 64 / sizeof(real) };
#elif defined(__AVX__)
enum { VECTOR = 32 / sizeof(real) };
#else
enum { VECTOR = 16 / sizeof(real) };
#endif
typedef real Vector __attribute__((vector_size(VECTOR * sizeof(real)), aligned(sizeof(real)), may_alias));
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct {
    int64_t rows, inner, columns, threads;
    const real *x;      /* (rows, inner) */
    const real *matrix; /* (inner, columns), or (columns, inner) where `transposed` */
    int64_t transposed;
    real *y; /* (rows, columns) = x matrix */
} product_call;

typedef struct {
    int64_t rows, inner, columns, threads;
    const real *x; /* (rows, inner), the shorter side */
    const real *y; /* (rows, columns) */
    real *sum;     /* (inner, columns) = x' y, or (columns, inner) where `transposed` */
    int64_t transposed;
} outer_call;

static int64_t padded(int64_t columns) { return (columns + VECTOR - 1) / VECTOR * VECTOR; }

/* to[s] = sum over i of x[s][i]*matrix[i], for `count` rows and `wide` vectors. */
ALWAYS_INLINE void product_tile(const int count, const int wide, int64_t inner, const real *x, const real *matrix,
                                int64_t width, real *to, int64_t stride)
{
    Vector sum[GROUP][3];
    for (int s = 0; s < count; s++)
        for (int m = 0; m < wide; m++)
            sum[s][m] = (Vector){0};
    for (int64_t i = 0; i < inner; i++) {
        const Vector *row = (const Vector *)(matrix + i * width);
        for (int s = 0; s < count; s++)
            for (int m = 0; m < wide; m++)
                sum[s][m] += x[s * inner + i] * row[m];
    }
    for (int s = 0; s < count; s++)
        for (int m = 0; m < wide; m++)
            ((Vector *)(to + s * stride))[m] = sum[s][m];
}

/* `count` rows, GROUP or 1. The last columns come first: what they write beyond a row is written again. */
ALWAYS_INLINE void product_rows(const int count, int64_t inner, const real *x, const real *matrix, int64_t width, real *to,
                                int64_t stride)
{
    for (int64_t j = (width / VECTOR - 1) / 3 * 3 * VECTOR; j >= 0; j -= 3 * VECTOR) {
        const int64_t wide = MIN(3, (width - j) / VECTOR);
        if (wide == 1)
            product_tile(count, 1, inner, x, matrix + j, width, to + j, stride);
        else if (wide == 2)
            product_tile(count, 2, inner, x, matrix + j, width, to + j, stride);
        else
            product_tile(count, 3, inner, x, matrix + j, width, to + j, stride);
    }
}

/* The rows first..last-1; the last of them go through `spare`, one padded row, so that no row of others is touched. */
static void product_slice(const product_call *call, const real *matrix, real *spare, int64_t first, int64_t last)
{
    const int64_t inner = call->inner, columns = call->columns, width = padded(columns);
    int64_t r = first;
    for (; (r + GROUP) * columns + VECTOR <= last * columns; r += GROUP)
        product_rows(GROUP, inner, call->x + r * inner, matrix, width, call->y + r * columns, columns);
    for (; r < last; r++) {
        product_rows(1, inner, call->x + r * inner, matrix, width, spare, width);
        memcpy(call->y + r * columns, spare, (size_t)columns * sizeof(real));
    }
}

/* The matrix with rows padded to whole vectors, and one row more for each thread. */
static real *padded_matrix(const product_call *call, int64_t threads)
{
    const int64_t width = padded(call->columns);
    real *rows = lines((size_t)((call->inner + threads) * width) * sizeof(real));
    for (int64_t i = 0; rows && i < call->inner; i++)
        for (int64_t j = 0; j < width; j++)
            rows[i * width + j] = j >= call->columns ? 0
                                  : call->transposed ? call->matrix[j * call->inner + i]
                                                     : call->matrix[i * call->columns + j];
    return rows;
}

/* 0, or 1 where memory ran out. */
int product(const product_call *call)
{
    const int64_t slices = (call->rows + SLICE - 1) / SLICE, threads = PARALLEL ? MAX(MIN(call->threads, slices), 1) : 1;
    real *matrix = padded_matrix(call, threads);
    if (!matrix)
        return 1;
    real *spare = matrix + call->inner * padded(call->columns);
#if defined(_OPENMP)
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
#endif
    for (int64_t k = 0; k < threads; k++)
        for (int64_t i = slices * k / threads; i < slices * (k + 1) / threads; i++)
            product_slice(call, matrix, spare + k * padded(call->columns), i * SLICE, MIN((i + 1) * SLICE, call->rows));
    free(matrix);
    return 0;
}

/* sum[i] += over rows: x[r][i]*y[r], for `count` entries of the shorter side and `wide` vectors. */
ALWAYS_INLINE void outer_tile(const int count, const int wide, int64_t rows, const real *x, int64_t inner, const real *y,
                              int64_t stride, double *sum, int64_t width)
{
    Vector part[8][3];
    for (int i = 0; i < count; i++)
        for (int m = 0; m < wide; m++)
            part[i][m] = (Vector){0};
    for (int64_t r = 0; r < rows; r++) {
        const Vector *row = (const Vector *)(y + r * stride);
        for (int i = 0; i < count; i++)
            for (int m = 0; m < wide; m++)
                part[i][m] += x[r * inner + i] * row[m];
    }
    for (int i = 0; i < count; i++)
        for (int m = 0; m < wide; m++)
            for (int64_t j = 0; j < VECTOR; j++)
                sum[i * width + m * VECTOR + j] += (double)part[i][m][j];
}

ALWAYS_INLINE void outer_columns(const int wide, int64_t rows, const real *x, int64_t inner, const real *y, int64_t stride,
                                 double *sum, int64_t width)
{
    int64_t i = 0;
    for (; i + 8 <= inner; i += 8)
        outer_tile(8, wide, rows, x + i, inner, y, stride, sum + i * width, width);
    for (; i + 4 <= inner; i += 4)
        outer_tile(4, wide, rows, x + i, inner, y, stride, sum + i * width, width);
    for (; i + 2 <= inner; i += 2)
        outer_tile(2, wide, rows, x + i, inner, y, stride, sum + i * width, width);
    if (i < inner)
        outer_tile(1, wide, rows, x + i, inner, y, stride, sum + i * width, width);
}

/* At most CHUNK rows, summed in the numbers' own precision; `y` may be read one padded row behind them. */
static void outer_rows(int64_t rows, const real *x, int64_t inner, const real *y, int64_t stride, double *sum, int64_t width)
{
    for (int64_t j = 0; j < width; j += 3 * VECTOR) {
        const int64_t wide = MIN(3, (width - j) / VECTOR);
        if (wide == 1)
            outer_columns(1, rows, x, inner, y + j, stride, sum + j, width);
        else if (wide == 2)
            outer_columns(2, rows, x, inner, y + j, stride, sum + j, width);
        else
            outer_columns(3, rows, x, inner, y + j, stride, sum + j, width);
    }
}

/* The rows first..last-1; rows whose vectors reach beyond the array are read from `spare`, one padded row. */
static void outer_slot(const outer_call *call, int64_t first, int64_t last, real *spare, double *sum)
{
    const int64_t inner = call->inner, columns = call->columns, width = padded(columns);
    while (first < last) {
        int64_t count = MIN(CHUNK, last - first);
        while (count && (first + count - 1) * columns + width > call->rows * columns)
            count--;
        if (count) {
            outer_rows(count, call->x + first * inner, inner, call->y + first * columns, columns, sum, width);
        } else {
            count = 1;
            memcpy(spare, call->y + first * columns, (size_t)columns * sizeof(real));
            outer_rows(1, call->x + first * inner, inner, spare, width, sum, width);
        }
        first += count;
    }
}

/* 0, or 1 where memory ran out. The slots do not depend on the number of threads, nor does the order of their sums. */
int outer(const outer_call *call)
{
    const int64_t inner = call->inner, columns = call->columns, width = padded(columns), size = inner * width;
    double *sums = calloc((size_t)(SLOTS * size) + 1, sizeof *sums);
    real *spare = calloc((size_t)(SLOTS * width) + 1, sizeof *spare);
    const int failed = !sums || !spare;
#if defined(_OPENMP)
#pragma omp parallel for num_threads(call->threads) schedule(static) if (call->threads > 1)
#endif
    for (int64_t s = 0; s < SLOTS * !failed; s++)
        outer_slot(call, call->rows * s / SLOTS, call->rows * (s + 1) / SLOTS, spare + s * width, sums + s * size);
    for (int64_t i = 0; i < inner * !failed; i++)
        for (int64_t j = 0; j < columns; j++) {
            double total = 0;
            for (int64_t s = 0; s < SLOTS; s++)
                total += sums[s * size + i * width + j];
            call->sum[call->transposed ? j * inner + i : i * columns + j] = (real)total;
        }
    free(sums);
    free(spare);
    return failed;
}
