/* Steps first..last-1 of a sequence whose steps read their whole past; `block` is the first step of the block that they
   lie in. What the sums of these steps owe to values before the block stands in `sums` already; values of the block are
   summed here. All lanes are one row. VALUES = channels*states. */
typedef struct {
    int64_t lanes, first, last, block, steps, threads;
    const int64_t *ends;                      /* (lanes): steps that a lane runs, or NULL: all */
    const real *coefficients[N_COEFFICIENTS]; /* one number, or (lanes) where PER_NEURON */
    const real *inputs[N_GIVEN];              /* (steps, lanes) */
    const real *kernel[N_PAIRS];              /* (steps, STATES, 1 or lanes): weights by distance */
    int64_t wide;                             /* 1: one weight for all lanes, else lanes */
    real *sums;                               /* (steps, VALUES, lanes), of values before each step's own */
    real *values;                             /* (steps, VALUES, lanes) */
    real *carry;                              /* (steps + 1, N_CARRY, lanes), or two rows in turn where nothing is kept */
    int64_t keep;
    real *outputs[N_PLAIN];                   /* (steps, lanes) */
    real *events;                             /* (steps or 1, N_EVENTS, lanes) */
    int64_t *born;                            /* (steps + 1, STATES, lanes): first value that a step's sums know */
    real *rest;                               /* (STATES, lanes): the largest of `#rest` */
} neuron_history_call;

/* The reverse of such steps; cotangents of values after the block and from outside stand in `g_values` already. */
typedef struct {
    const neuron_history_call *forward;
    const real *g_outputs[N_PLAIN];           /* (steps, lanes); NULL: zero */
    int64_t g_output_step[N_PLAIN];
    real *g_values;                           /* (steps, VALUES, lanes) */
    real *g_sums;                             /* (steps, VALUES, lanes) */
    real *g_inputs[N_GIVEN];                  /* (steps, lanes) */
    real *g_carry;                            /* (N_CARRY, lanes): after the steps, then before them */
    real *g_trained;                          /* (N_TRAINED, lanes), added to */
    real *g_kernel[N_PAIRS];                  /* (BLOCK, STATES, lanes), added to; where something is forgotten */
    const real *tail;                         /* (steps, VALUES, lanes): sums of earlier calls */
    const real *g_past;                       /* (steps, VALUES, lanes): cotangents of the values that are left */
    const real *g_alive;                      /* (STATES, lanes): of what is left of earlier calls */
    real *left;                               /* (STATES, lanes): what the past that is known gives the loss from here on */
    int64_t *next;                            /* (STATES, lanes): the next step that forgets, or `steps` */
} neuron_history_reverse;

enum { VALUES = CHANNELS * STATES };

typedef struct {
    real next[N_CARRY][LANES], output[N_EXTRA + 1][LANES], zero[LANES];
    real g_input[N_GIVEN + 1][LANES], g_out[N_EXTRA + 1][LANES], saved[N_CARRY][LANES];
} HistoryWork;

/* sum[j] += weight*value[j] for `count` values and weights, one behind the other. */
static void add_rows(int64_t n, int64_t count, const real *w, int64_t w_step, int64_t wide, const real *v, int64_t v_step,
                     real *sum)
{
    int64_t i = 0;
    for (; wide == 1 && i + 4 <= count; i += 4, v += 4 * v_step, w += 4 * w_step) {
        const real a = w[0], b = w[w_step], c = w[2 * w_step], d = w[3 * w_step];
        const real *p = v, *q = v + v_step, *r = v + 2 * v_step, *s = v + 3 * v_step;
        SIMD
        for (int64_t j = 0; j < n; j++)
            sum[j] += (a * p[j] + b * q[j]) + (c * r[j] + d * s[j]);
    }
    for (; i < count; i++, v += v_step, w += w_step)
        if (wide == 1) {
            const real a = w[0];
            SIMD
            for (int64_t j = 0; j < n; j++)
                sum[j] += a * v[j];
        } else {
            SIMD
            for (int64_t j = 0; j < n; j++)
                sum[j] += w[j] * v[j];
        }
}

/* The same where a value counts only for lanes that know it: born <= at for `later` values, value >= born otherwise. */
static void add_known(int64_t n, const real *w, int64_t wide, const real *v, const int64_t *born, int64_t at, real *sum)
{
    for (int64_t j = 0; j < n; j++)
        sum[j] += born[j] <= at ? w[wide == 1 ? 0 : j] * v[j] : 0;
}

static const real *weight(const neuron_history_call *call, int pair, int64_t distance, int s, int64_t lane)
{
    return call->kernel[pair] + (distance * STATES + s) * call->wide + (call->wide == 1 ? 0 : lane);
}

static void near_sums(const neuron_history_call *call, int64_t lane, int64_t n, int64_t t)
{
    const int64_t row = VALUES * call->lanes, count = t - call->block;
    for (int p = 0; p < N_PAIRS && count; p++)
        for (int s = 0; s < STATES; s++) {
            real *sum = call->sums + t * row + (PAIR_OUT[p] * STATES + s) * call->lanes + lane;
            const real *v = call->values + (PAIR_IN[p] * STATES + s) * call->lanes + lane;
            if (!FORGETS) {
                add_rows(n, count, weight(call, p, count, s, lane), -STATES * call->wide, call->wide,
                         v + call->block * row, row, sum);
                continue;
            }
            const int64_t *born = call->born + (t * STATES + s) * call->lanes + lane;
            for (int64_t j = call->block; j < t; j++)
                add_known(n, weight(call, p, t - j, s, lane), call->wide, v + j * row, born, j, sum);
        }
}

/* Lanes that forgot in step t: their sums know nothing from before t + 1. */
static void forget(const neuron_history_call *call, HistoryWork *work, int64_t lane, int64_t n, int64_t t)
{
    for (int s = 0; s < STATES; s++) {
        const int64_t at = (t * STATES + s) * call->lanes + lane;
        const int64_t *born = call->born + at;
        int64_t *after = call->born + at + STATES * call->lanes;
        for (int64_t j = 0; j < n; j++) {
            const int gone = work->output[KEPT + s][j] == 0 && !(call->ends && t >= call->ends[lane + j]);
            after[j] = gone ? t + 1 : born[j];
            for (int64_t u = t + 1; gone && u < call->last; u++)
                for (int o = 0; o < CHANNELS; o++)
                    call->sums[(u * VALUES + o * STATES + s) * call->lanes + lane + j] = 0;
        }
    }
}

static void coefficient_rows(const neuron_history_call *call, int64_t lane, const real **k)
{
    for (int i = 0; i < N_COEFFICIENTS; i++)
        k[i] = call->coefficients[i] + (PER_NEURON[i] ? lane : 0);
}

static void input_rows(const neuron_history_call *call, int64_t lane, int64_t t, const real **x)
{
    for (int i = 0; i < N_GIVEN; i++)
        x[i] = call->inputs[i] + t * call->lanes + lane;
    for (int i = 0; i < VALUES; i++)
        x[N_GIVEN + i] = call->sums + (t * VALUES + i) * call->lanes + lane;
}

/* Lanes that have ended rest: their carry stays, what they give is 0. */
static void rest_of_ended(const neuron_history_call *call, int64_t lane, int64_t n, int64_t t, const real *const *state,
                          real *const *next, real *const *out)
{
    for (int64_t j = 0; j < n; j++)
        if (t >= call->ends[lane + j]) {
            for (int i = 0; i < N_CARRY; i++)
                next[i][j] = state[i][j];
            for (int i = 0; i < N_PLAIN + VALUES; i++)
                out[i][j] = 0;
        }
}

static void history_step(const neuron_history_call *call, HistoryWork *work, int64_t lane, int64_t n, int64_t t)
{
    const real *k[N_COEFFICIENTS], *x[N_GIVEN + VALUES], *state[N_CARRY];
    real *next[N_CARRY], *out[N_PLAIN + VALUES + N_EXTRA + 1], *event[N_EVENTS + 1];
    near_sums(call, lane, n, t);
    coefficient_rows(call, lane, k);
    input_rows(call, lane, t, x);
    for (int i = 0; i < N_CARRY; i++) {
        state[i] = call->carry + ((call->keep ? t : t % 2) * N_CARRY + i) * call->lanes + lane;
        next[i] = call->carry + ((call->keep ? t + 1 : (t + 1) % 2) * N_CARRY + i) * call->lanes + lane;
    }
    for (int i = 0; i < N_PLAIN; i++)
        out[i] = call->outputs[i] + t * call->lanes + lane;
    for (int i = 0; i < VALUES; i++)
        out[N_PLAIN + i] = call->values + (t * VALUES + i) * call->lanes + lane;
    for (int i = 0; i < N_EXTRA; i++)
        out[N_PLAIN + VALUES + i] = work->output[i];
    for (int i = 0; i < N_EVENTS; i++)
        event[i] = call->events + ((call->keep ? t : 0) * N_EVENTS + i) * call->lanes + lane;
    step(n, k, x, state, next, out, event);
    for (int i = 0; i < N_EVENTS; i++)
        if (EVENT_OUTPUT[i] >= 0)
            memcpy(event[i], out[EVENT_OUTPUT[i]], (size_t)n * sizeof(real));
    for (int s = 0; ITERATES && s < STATES; s++)
        for (int64_t j = 0; j < n; j++) { /* what is no number stays */
            real *most = call->rest + s * call->lanes + lane + j, now = work->output[REST + s][j];
            *most = now <= *most ? *most : now;
        }
    if (call->ends)
        rest_of_ended(call, lane, n, t, state, next, out);
    if (FORGETS)
        forget(call, work, lane, n, t);
}

static int forward_lanes(const neuron_history_call *call, int64_t lane, int64_t n)
{
    HistoryWork *work = lines(sizeof *work);
    if (!work)
        return 1;
    const unsigned old = denormals_off();
    for (int64_t t = call->first; t < call->last; t++)
        history_step(call, work, lane, n, t);
    denormals_restore(old);
    free(work);
    return 0;
}

/* 0, or 1 where memory ran out. */
int neuron_history_forward(const neuron_history_call *call)
{
    const int64_t tiles = (call->lanes + LANES - 1) / LANES;
    int failed = 0;
#if defined(_OPENMP)
#pragma omp parallel for num_threads(MIN(call->threads, tiles)) if (call->threads > 1 && tiles > 1) reduction(|| : failed)
#endif
    for (int64_t i = 0; i < tiles; i++)
        failed = failed || forward_lanes(call, i * LANES, MIN(LANES, call->lanes - i * LANES));
    return failed;
}

/* Cotangents of the values of step t through the sums of later steps of its block. */
static void near_cotangents(const neuron_history_reverse *back, int64_t lane, int64_t n, int64_t t)
{
    const neuron_history_call *call = back->forward;
    const int64_t row = VALUES * call->lanes, end = MIN(call->block + BLOCK, call->steps);
    for (int p = 0; p < N_PAIRS; p++)
        for (int s = 0; s < STATES; s++) {
            real *g = back->g_values + t * row + (PAIR_IN[p] * STATES + s) * call->lanes + lane;
            const real *from = back->g_sums + (PAIR_OUT[p] * STATES + s) * call->lanes + lane;
            if (!FORGETS) {
                add_rows(n, end - t - 1, weight(call, p, 1, s, lane), STATES * call->wide, call->wide,
                         from + (t + 1) * row, row, g);
                continue;
            }
            for (int64_t u = t + 1; u < end; u++)
                add_known(n, weight(call, p, u - t, s, lane), call->wide, from + u * row,
                          call->born + (u * STATES + s) * call->lanes + lane, t, g);
        }
}

/* What the values of step t and of those before it in the block say of the kernel through the sums of step t. */
static void near_kernel(const neuron_history_reverse *back, int64_t lane, int64_t n, int64_t t)
{
    const neuron_history_call *call = back->forward;
    const int64_t row = VALUES * call->lanes;
    for (int p = 0; p < N_PAIRS; p++)
        for (int s = 0; s < STATES; s++) {
            const real *g = back->g_sums + t * row + (PAIR_OUT[p] * STATES + s) * call->lanes + lane;
            const real *v = call->values + (PAIR_IN[p] * STATES + s) * call->lanes + lane;
            const int64_t *born = call->born + (t * STATES + s) * call->lanes + lane;
            for (int64_t u = call->block; u <= t; u++) {
                real *sum = back->g_kernel[p] + ((t - u) * STATES + s) * call->lanes + lane;
                for (int64_t j = 0; j < n; j++)
                    sum[j] += born[j] <= u ? g[j] * v[u * row + j] : 0;
            }
        }
}

/* Where a lane forgets at t: what its past, had it been kept, would have given the loss up to the next time. */
static double forgotten(const neuron_history_reverse *back, int s, int64_t lane, int64_t t, real *copy)
{
    const neuron_history_call *call = back->forward;
    const int64_t row = VALUES * call->lanes, at = s * call->lanes + lane;
    const int64_t from = call->born[t * STATES * call->lanes + at], next = back->next[at];
    const int64_t end = MIN(next + 1, call->steps);
    double total = 0;
    for (int p = 0; p < N_PAIRS; p++) {
        const int64_t in = PAIR_IN[p] * STATES * call->lanes + at, out = PAIR_OUT[p] * STATES * call->lanes + at;
        for (int64_t j = from; j <= t; j++)
            copy[j - from] = call->values[j * row + in];
        for (int64_t u = t + 1; u < end; u++) {
            const real *w = weight(call, p, u - from, s, lane);
            const int64_t step = STATES * call->wide, count = t - from + 1;
            double a = 0, b = 0, c = 0, d = 0;
            int64_t j = 0;
            for (; j + 4 <= count; j += 4, w -= 4 * step) {
                a += (double)(w[0] * copy[j]);
                b += (double)(w[-step] * copy[j + 1]);
                c += (double)(w[-2 * step] * copy[j + 2]);
                d += (double)(w[-3 * step] * copy[j + 3]);
            }
            for (; j < count; j++, w -= step)
                a += (double)(*w * copy[j]);
            total += (a + b + c + d) * (double)back->g_sums[u * row + out];
        }
    }
    for (int o = 0; o < CHANNELS; o++) {
        const int64_t here = o * STATES * call->lanes + at;
        for (int64_t u = t + 1; from == 0 && u < end; u++)
            total += (double)(back->g_sums[u * row + here] * back->tail[u * row + here]);
        for (int64_t j = from; next == call->steps && j <= t; j++)
            total += (double)(back->g_past[j * row + here] * call->values[j * row + here]);
    }
    return total + (next == call->steps && from == 0 ? (double)back->g_alive[at] : 0);
}

/* Cotangents of `#kept` in step t. */
static void kept_cotangents(const neuron_history_reverse *back, HistoryWork *work, int64_t lane, int64_t n, int64_t t,
                            real *copy)
{
    const neuron_history_call *call = back->forward;
    for (int s = 0; s < STATES; s++)
        for (int64_t j = 0; j < n; j++) {
            const int64_t at = s * call->lanes + lane + j;
            const int gone = call->born[(t + 1) * STATES * call->lanes + at] == t + 1;
            if (gone) {
                work->g_out[KEPT + s][j] = (real)forgotten(back, s, lane + j, t, copy);
                back->left[at] = 0;
                back->next[at] = t;
            } else
                work->g_out[KEPT + s][j] = back->left[at];
        }
}

/* From what the past before and with step t gives to what the past before step t gives. */
static void step_left(const neuron_history_reverse *back, int64_t lane, int64_t n, int64_t t)
{
    const neuron_history_call *call = back->forward;
    for (int i = 0; i < VALUES; i++) {
        const int64_t at = (t * VALUES + i) * call->lanes + lane;
        real *left = back->left + i % STATES * call->lanes + lane;
        for (int64_t j = 0; j < n; j++)
            left[j] += back->g_sums[at + j] * call->sums[at + j] - back->g_values[at + j] * call->values[at + j];
    }
}

static void history_back(const neuron_history_reverse *back, HistoryWork *work, int64_t lane, int64_t n, int64_t t,
                         real *copy)
{
    const neuron_history_call *call = back->forward;
    const real *k[N_COEFFICIENTS], *x[N_GIVEN + VALUES], *state[N_CARRY], *event[N_EVENTS + 1];
    const real *g_out[N_PLAIN + VALUES + N_EXTRA + 1];
    real *g_carry[N_CARRY], *g_input[N_GIVEN + VALUES], *sums[N_TRAINED + 1];
    near_cotangents(back, lane, n, t);
    if (FORGETS)
        kept_cotangents(back, work, lane, n, t, copy);
    coefficient_rows(call, lane, k);
    input_rows(call, lane, t, x);
    for (int i = 0; i < N_CARRY; i++) {
        state[i] = call->carry + (t * N_CARRY + i) * call->lanes + lane;
        g_carry[i] = back->g_carry + i * call->lanes + lane;
    }
    for (int i = 0; i < N_EVENTS; i++)
        event[i] = call->events + (t * N_EVENTS + i) * call->lanes + lane;
    for (int i = 0; i < N_PLAIN; i++)
        g_out[i] = back->g_outputs[i] ? back->g_outputs[i] + t * back->g_output_step[i] + lane : work->zero;
    for (int i = 0; i < VALUES; i++)
        g_out[N_PLAIN + i] = back->g_values + (t * VALUES + i) * call->lanes + lane;
    for (int i = 0; i < N_EXTRA; i++)
        g_out[N_PLAIN + VALUES + i] = FORGETS && i >= KEPT && i < KEPT + STATES ? work->g_out[i] : work->zero;
    for (int i = 0; i < N_GIVEN; i++)
        g_input[i] = back->g_inputs[i] + t * call->lanes + lane;
    for (int i = 0; i < VALUES; i++)
        g_input[N_GIVEN + i] = back->g_sums + (t * VALUES + i) * call->lanes + lane;
    for (int i = 0; i < N_TRAINED; i++)
        sums[i] = back->g_trained + i * call->lanes + lane;
    reverse(n, k, x, state, event, g_out, g_carry, g_input, sums);
    if (FORGETS) {
        near_kernel(back, lane, n, t);
        step_left(back, lane, n, t);
    }
}

/* A lane runs its own steps only: it is not there in the others. */
static int backward_lanes(const neuron_history_reverse *back, int64_t lane, int64_t n)
{
    const neuron_history_call *call = back->forward;
    HistoryWork *work = lines(sizeof *work);
    real *copy = malloc(FORGETS ? (size_t)(call->steps + 1) * sizeof *copy : 1);
    if (work && copy) {
        memset(work->zero, 0, sizeof work->zero);
        const unsigned old = denormals_off();
        for (int64_t t = call->last - 1; t >= call->first; t--)
            history_back(back, work, lane, n, t, copy);
        denormals_restore(old);
    }
    const int failed = !work || !copy;
    free(copy);
    free(work);
    return failed;
}

/* Runs of lanes that have not ended at a step; without `ends` there is one. */
static int64_t run_of(const neuron_history_call *call, int64_t lane, int64_t most)
{
    int64_t n = 1;
    while (n < most && (!call->ends || call->ends[lane + n] == call->ends[lane]))
        n++;
    return n;
}

static int backward_tile(const neuron_history_reverse *back, int64_t lane, int64_t n)
{
    int failed = 0;
    while (n > 0 && !failed) {
        neuron_history_call own = *back->forward;
        neuron_history_reverse part = *back;
        const int64_t run = run_of(&own, lane, n);
        part.forward = &own;
        if (own.ends)
            own.last = MIN(own.last, own.ends[lane]);
        failed = backward_lanes(&part, lane, run);
        lane += run;
        n -= run;
    }
    return failed;
}

/* 0, or 1 where memory ran out. */
int neuron_history_backward(const neuron_history_reverse *back)
{
    const neuron_history_call *call = back->forward;
    const int64_t tiles = (call->lanes + LANES - 1) / LANES;
    int failed = 0;
#if defined(_OPENMP)
#pragma omp parallel for num_threads(MIN(call->threads, tiles)) if (call->threads > 1 && tiles > 1) reduction(|| : failed)
#endif
    for (int64_t i = 0; i < tiles; i++)
        failed = failed || backward_tile(back, i * LANES, MIN(LANES, call->lanes - i * LANES));
    return failed;
}
