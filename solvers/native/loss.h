/* Cross entropy of every step of a sequence: -log softmax(logits)[label], and its gradient in the same pass. A row is the
   logits of one step of one sample; ROWS of them are worked on together, lanes being rows. */
enum { ROWS = 16, TASK = 64 * ROWS };

typedef struct {
    int64_t steps, samples, classes, threads;
    int64_t first, last;           /* the steps that count: first..last-1 */
    int64_t by_step, label_bytes;  /* labels: (samples, steps) or (samples); 1 byte unsigned or 8 bytes, below 0: ignored */
    int64_t mean;                  /* over what counts; else the mean over samples of the sum over steps */
    const real *logits;            /* (steps, samples, classes) */
    const void *labels;
    real *g_logits;                /* NULL: not wanted */
    double *loss;                  /* 1 number */
    int64_t *correct;              /* 2 numbers: how many are right, how many count */
} nll_call;

typedef struct {
    double loss;
    int64_t correct;
} Part;

/* The labels of rows start..start+rows-1, -1 where a row does not count; returns whether all are classes. */
static int read_labels(const nll_call *call, int64_t start, int64_t rows, int64_t *label)
{
    int64_t t = start / call->samples, b = start % call->samples, largest = -1;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t place = call->by_step ? b * call->steps + t : b;
        const int64_t found = call->label_bytes == 1 ? ((const uint8_t *)call->labels)[place]
                                                     : ((const int64_t *)call->labels)[place];
        label[r] = t < call->first || t >= call->last || found < 0 ? -1 : found;
        largest = MAX(largest, label[r]);
        if (++b == call->samples) {
            b = 0;
            t++;
        }
    }
    return largest < call->classes;
}

/* How many rows count; -1 where a label is no class. */
static int64_t count_rows(const nll_call *call)
{
    int64_t count = 0, label[ROWS];
    const int64_t all = call->steps * call->samples;
    for (int64_t start = 0; start < all; start += ROWS) {
        const int64_t rows = MIN(ROWS, all - start);
        if (!read_labels(call, start, rows, label))
            return -1;
        for (int64_t r = 0; r < rows; r++)
            count += label[r] >= 0;
    }
    return count;
}

/* e[k][r] = the logits of row r; rows that are not there repeat the last. */
static void read_logits(const real *logits, int64_t classes, int64_t rows, real (*e)[ROWS])
{
    if (rows == ROWS) {
        for (int64_t k = 0; k < classes; k++)
            for (int64_t r = 0; r < ROWS; r++)
                e[k][r] = logits[r * classes + k];
        return;
    }
    for (int64_t k = 0; k < classes; k++)
        for (int64_t r = 0; r < ROWS; r++)
            e[k][r] = logits[MIN(r, rows - 1) * classes + k];
}

/* The largest logit of each row and the first class that has it, as argmax tells. */
static void find_largest(int64_t classes, const real (*e)[ROWS], real *most, int32_t *best)
{
    memcpy(most, e[0], ROWS * sizeof *most);
    for (int64_t k = 1; k < classes; k++)
        for (int64_t r = 0; r < ROWS; r++)
            most[r] = e[k][r] > most[r] ? e[k][r] : most[r];
    memset(best, 0, ROWS * sizeof *best);
    for (int64_t k = classes - 1; k >= 0; k--)
        for (int64_t r = 0; r < ROWS; r++)
            best[r] = e[k][r] >= most[r] ? (int32_t)k : best[r];
}

/* Up to ROWS rows; `e` has room for their logits, class by class. */
static void nll_rows(const nll_call *call, int64_t start, int64_t rows, real weight, real (*e)[ROWS], Part *part)
{
    const int64_t classes = call->classes;
    real most[ROWS], sum[ROWS] = {0}, scale[ROWS];
    int32_t best[ROWS];
    int64_t label[ROWS];
    read_labels(call, start, rows, label);
    read_logits(call->logits + start * classes, classes, rows, e);
    find_largest(classes, (const real(*)[ROWS])e, most, best);
    for (int64_t r = 0; r < rows; r++)
        if (label[r] >= 0) {
            part->correct += best[r] == label[r];
            part->loss += (double)(most[r] - e[label[r]][r]);
        }
    for (int64_t k = 0; k < classes; k++) {
        SIMD
        for (int64_t r = 0; r < ROWS; r++) {
            e[k][r] = real_exp(e[k][r] - most[r]);
            sum[r] += e[k][r];
        }
    }
    double product = 1; /* of sums between 1 and the number of classes: one logarithm for all rows */
    for (int64_t r = 0; r < rows; r++) {
        product *= label[r] < 0 ? 1 : (double)sum[r];
        scale[r] = label[r] < 0 ? 0 : weight / sum[r];
    }
    part->loss += log(product);
    real *g = call->g_logits + start * classes;
    for (int64_t r = 0; call->g_logits && r < rows; r++) {
        for (int64_t k = 0; k < classes; k++)
            g[r * classes + k] = e[k][r] * scale[r];
        if (label[r] >= 0)
            g[r * classes + label[r]] -= weight;
    }
}

static int nll_task(const nll_call *call, int64_t task, real weight, Part *part)
{
    real(*e)[ROWS] = lines((size_t)call->classes * sizeof *e);
    if (!e)
        return 1;
    const int64_t stop = MIN((task + 1) * TASK, call->steps * call->samples);
    for (int64_t row = task * TASK; row < stop; row += ROWS)
        nll_rows(call, row, MIN(ROWS, stop - row), weight, e, part);
    free(e);
    return 0;
}

/* 0; 1 where memory ran out; 2 where a label is no class. */
int nll_sequence(const nll_call *call)
{
    const int64_t tasks = (call->steps * call->samples + TASK - 1) / TASK, counted = count_rows(call);
    if (counted < 0)
        return 2;
    const double weight = 1.0 / (double)MAX(call->mean ? counted : call->samples, 1);
    Part *parts = calloc((size_t)tasks + 1, sizeof *parts);
    int failed = !parts;
#if defined(_OPENMP)
    if (!failed && call->threads > 1) {
#pragma omp parallel for num_threads(call->threads) schedule(static) reduction(|| : failed)
        for (int64_t i = 0; i < tasks; i++)
            failed = failed || nll_task(call, i, (real)weight, parts + i);
    }
#endif
    if (!PARALLEL || call->threads <= 1)
        for (int64_t i = 0; !failed && i < tasks; i++)
            failed = nll_task(call, i, (real)weight, parts + i);
    Part total = {0, 0};
    for (int64_t i = 0; !failed && i < tasks; i++) {
        total.loss += parts[i].loss;
        total.correct += parts[i].correct;
    }
    *call->loss = total.loss * weight;
    call->correct[0] = total.correct;
    call->correct[1] = counted;
    free(parts);
    return failed;
}
