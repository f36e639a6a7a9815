/* Rows of a block before one step: its carry, its last output, and its driven input where the reverse reads it. */
enum { HISTORY_ROWS = N_STATES + KEEP_DRIVE };

/* Sums of a slot over its blocks, in double precision. */
typedef struct {
    double *coefficients; /* N_TRAINED x neurons */
    double *bias;         /* neurons */
    double *weights;      /* [before][after], padded rows */
} Sums;

/* What a slot holds during the backward pass. */
typedef struct {
    real *memory;
    real *history;  /* CHUNK x HISTORY_ROWS rows */
    real *start;    /* 1 row: the driven input without what comes back */
    real *driven;   /* 1 row */
    real *event;    /* N_EVENTS rows */
    real *output;   /* 1 row that nobody reads */
    real *g_out;    /* 1 row: cotangents of the output that is fed back */
    real *g_last;   /* 1 row: what the next step sent back to it */
    real *g_before; /* 1 row: the same, one step earlier */
    real *none;     /* 1 row of zeros */
    real *g_input;  /* N_INPUTS rows, for inputs whose cotangents nobody wants, and the driven one */
    real *g_carry;  /* N_CARRY rows, and N_TRAINED rows of sums behind them */
    real *ended;    /* the same: what the samples that have ended keep */
    real *sum_bias; /* 1 row */
    real *bias;     /* 1 row */
    real *rows;     /* N_COEFFICIENTS rows */
    real *weights;  /* [before][after], padded rows */
    Active active;
    const real *coefficients[N_COEFFICIENTS];
} BackwardWork;

static int backward_work(const neuron_backward_call *call, BackwardWork *work)
{
    const int64_t n = call->neurons;
    const Part parts[] = {
        {&work->history, CHUNK * HISTORY_ROWS}, {&work->start, 1}, {&work->driven, 1}, {&work->event, N_EVENTS},
        {&work->output, 1}, {&work->g_out, 1}, {&work->g_last, 1}, {&work->g_before, 1}, {&work->none, 1},
        {&work->g_input, N_INPUTS}, {&work->g_carry, N_CARRY + N_TRAINED}, {&work->ended, N_CARRY + N_TRAINED},
        {&work->sum_bias, 1}, {&work->bias, 1}, {&work->rows, N_COEFFICIENTS},
        {&work->weights, (n * padded(n) + row_length(n) - 1) / row_length(n)},
    };
    work->memory = cut(parts, sizeof parts / sizeof *parts, n, &work->active);
    if (!work->memory)
        return 1;
    if (call->bias)
        repeat(n, call->bias, work->bias);
    repeat_coefficients(n, call->coefficients, work->rows, work->coefficients);
    return 0;
}

/* A block of samples, and the caller's numbers that belong to it. */
typedef struct {
    int64_t index, samples, lanes;
    int64_t first;          /* its first lane in a row of samples*neurons lanes */
    const int64_t *lengths; /* of its samples, or NULL */
} Block;

/* The events of step t; that which is fed back goes to the row `output`. */
static void read_events(const neuron_backward_call *call, BackwardWork *work, const Block *block, int64_t t, real *output,
                        const real **event)
{
    const int64_t words = words_of_block(call->neurons), blocks = (call->samples + BLOCK - 1) / BLOCK;
    for (int i = 0; i < N_EVENTS; i++) {
        real *row = i == RECURRENT_EVENT ? output : work->event + i * row_length(call->neurons);
        unpack(block->lanes, call->bits + ((t * N_EVENTS + i) * blocks + block->index) * words, row);
        event[i] = row;
    }
}

/* Step t again, from the row `now` of the history: its driven input and, unless it is the last, what stood after it. */
static void replay_step(const neuron_backward_call *call, BackwardWork *work, const Block *block, const real *columns,
                        real *now, int64_t t, int is_last)
{
    const int64_t n = call->neurons, length = row_length(n);
    const real *x[N_INPUTS], *state[N_CARRY], *event[N_EVENTS];
    real *next[N_CARRY], *out[N_OUTPUTS], *after = now + HISTORY_ROWS * length;
    real *driven = KEEP_DRIVE ? now + N_STATES * length : work->driven;
    for (int i = 0; i < N_INPUTS; i++)
        x[i] = call->inputs[i] + t * call->input_step[i] + block->first;
    drive(block->samples, n, x[RECURRENT_INPUT], work->bias, now + N_CARRY * length, columns, &work->active, work->start,
          driven);
    if (is_last)
        return;
    x[RECURRENT_INPUT] = driven;
    read_events(call, work, block, t, after + N_CARRY * length, event);
    for (int i = 0; i < N_CARRY; i++) {
        state[i] = now + i * length;
        next[i] = after + i * length;
    }
    for (int i = 0; i < N_OUTPUTS; i++)
        out[i] = i == RECURRENT_OUTPUT ? after + N_CARRY * length : work->output;
    replay(block->lanes, work->coefficients, x, state, event, next, out);
    if (block->lengths)
        copy_ended(block->lengths, block->samples, n, t, N_STATES, now, after);
}

/* Steps first..stop-1: afterwards row t - first of the history is what stood before step t. */
static void replay_chunk(const neuron_backward_call *call, BackwardWork *work, const Block *block, const real *columns,
                         int64_t first, int64_t stop)
{
    const int64_t length = row_length(call->neurons), row = call->samples * call->neurons;
    for (int i = 0; i < N_STATES; i++)
        copy(block->lanes, call->checkpoints + (first / CHUNK * N_STATES + i) * row + block->first,
             work->history + i * length);
    for (int64_t t = first; t + !KEEP_DRIVE < stop; t++) {
        for (int i = 0; i < N_INPUTS; i++)
            prefetch(block->lanes, call->inputs[i] + MIN(t + AHEAD, stop - 1) * call->input_step[i] + block->first);
        replay_step(call, work, block, columns, work->history + (t - first) * HISTORY_ROWS * length, t, t + 1 == stop);
    }
}

/* Cotangents of the outputs of step t: the caller's, and for the one fed back also what the next step sent. */
static void read_cotangents(const neuron_backward_call *call, BackwardWork *work, const Block *block, int64_t t,
                            const real **g_out)
{
    for (int i = 0; i < N_OUTPUTS; i++) {
        const real *given = call->g_outputs[i];
        g_out[i] = given ? given + t * call->g_output_step[i] + block->first : work->none;
        if (given)
            prefetch(block->lanes, given + MAX(t - AHEAD, 0) * call->g_output_step[i] + block->first);
    }
    const real *given = g_out[RECURRENT_OUTPUT], *sent = work->g_last;
    real *sum = work->g_out;
    SIMD
    for (int64_t j = 0; j < block->lanes; j++)
        sum[j] = given[j] + sent[j];
    g_out[RECURRENT_OUTPUT] = sum;
}

/* The caller's cotangents of the inputs of step t. */
static void write_cotangents(const neuron_backward_call *call, const Block *block, int64_t t, const real *delta)
{
    const int64_t row = call->samples * call->neurons;
    for (int i = 0; i < N_INPUTS; i++) {
        if (!call->g_inputs[i])
            continue;
        real *to = call->g_inputs[i] + t * row + block->first;
        prefetch_to_write(block->lanes, t < AHEAD ? to : to - AHEAD * row);
        if (i == RECURRENT_INPUT)
            copy(block->lanes, delta, to);
        else if (block->lengths)
            zero_ended(block->lengths, block->samples, call->neurons, t, to);
    }
}

/* The gradients of weights and bias: what was active before step t, times the cotangents of the driven input. */
static void add_weights(const neuron_backward_call *call, BackwardWork *work, const Block *block, const real *last,
                        const real *delta)
{
    const int64_t n = call->neurons;
    find_active(block->samples, n, last, &work->active);
    for (int64_t b = 0; b < block->samples; b++) {
        const int32_t start = work->active.start[b], count = work->active.start[b + 1] - start;
        add_to_active_rows(count, work->active.index + start, last + b * n, work->weights, padded(n), delta + b * n);
    }
    real *sum = work->sum_bias;
    if (call->g_bias) {
        SIMD
        for (int64_t j = 0; j < block->lanes; j++)
            sum[j] += delta[j];
    }
}

/* One step: the reverse of its samples, then what their inputs' cotangents send back through the weights. */
static void reverse_step(const neuron_backward_call *call, BackwardWork *work, const Block *block, const real *rows,
                         real *now, int64_t t)
{
    const int64_t n = call->neurons, length = row_length(n), row = call->samples * n, kept = N_CARRY + N_TRAINED;
    const real *x[N_INPUTS], *state[N_CARRY], *event[N_EVENTS], *g_out[N_OUTPUTS];
    real *g_carry[N_CARRY], *g_input[N_INPUTS], *sums[N_TRAINED], *delta = work->g_input + RECURRENT_INPUT * length;
    for (int i = 0; i < N_INPUTS; i++) {
        const int given = i != RECURRENT_INPUT && call->g_inputs[i];
        x[i] = i == RECURRENT_INPUT ? now + N_STATES * length : call->inputs[i] + t * call->input_step[i] + block->first;
        g_input[i] = given ? call->g_inputs[i] + t * row + block->first : work->g_input + i * length;
    }
    if (REVERSE_READS_EVENTS)
        read_events(call, work, block, t, work->output, event);
    read_cotangents(call, work, block, t, g_out);
    for (int i = 0; i < N_CARRY; i++) {
        state[i] = now + i * length;
        g_carry[i] = work->g_carry + i * length;
    }
    for (int i = 0; i < N_TRAINED; i++)
        sums[i] = work->g_carry + (N_CARRY + i) * length;
    if (block->lengths)
        copy_ended(block->lengths, block->samples, n, t, kept, work->g_carry, work->ended);
    reverse(block->lanes, work->coefficients, x, state, event, g_out, g_carry, g_input, sums);
    if (block->lengths) {
        copy_ended(block->lengths, block->samples, n, t, kept, work->ended, work->g_carry);
        zero_ended(block->lengths, block->samples, n, t, delta);
    }
    write_cotangents(call, block, t, delta);
    add_weights(call, work, block, now + N_CARRY * length, delta);
    product(block->samples, n, delta, rows, work->g_before);
    if (block->lengths)
        copy_ended(block->lengths, block->samples, n, t, 1, work->g_last, work->g_before);
    real *swap = work->g_last;
    work->g_last = work->g_before;
    work->g_before = swap;
}

/* The sums of a chunk, in double precision. */
static void add_sums(const neuron_backward_call *call, BackwardWork *work, const Block *block, const Sums *sums)
{
    const int64_t n = call->neurons, length = row_length(n);
    for (int i = 0; i <= N_TRAINED; i++) {
        real *row = i < N_TRAINED ? work->g_carry + (N_CARRY + i) * length : work->sum_bias;
        double *sum = i < N_TRAINED ? sums->coefficients + i * n : sums->bias;
        for (int64_t b = 0; b < block->samples; b++)
            for (int64_t j = 0; j < n; j++)
                sum[j] += row[b * n + j];
        zero(length, row);
    }
}

static void backward_block(const neuron_backward_call *call, BackwardWork *work, const Block *block, const real *columns,
                           const real *rows, const Sums *sums)
{
    const int64_t n = call->neurons, length = row_length(n);
    zero(n * padded(n), work->weights);
    for (int i = 0; i < N_STATES; i++) {
        real *row = i < N_CARRY ? work->g_carry + i * length : work->g_last;
        zero(length, row);
        if (call->g_last_carry[i])
            copy(block->lanes, call->g_last_carry[i] + block->first, row);
    }
    for (int64_t first = (call->steps - 1) / CHUNK * CHUNK; call->steps && first >= 0; first -= CHUNK) {
        const int64_t stop = MIN(first + CHUNK, call->steps);
        replay_chunk(call, work, block, columns, first, stop);
        for (int64_t t = stop - 1; t >= first; t--)
            reverse_step(call, work, block, rows, work->history + (t - first) * HISTORY_ROWS * length, t);
        add_sums(call, work, block, sums);
    }
    for (int64_t j = 0; j < n * padded(n); j++)
        sums->weights[j] += work->weights[j];
    for (int i = 0; i < N_STATES; i++)
        copy(block->lanes, i < N_CARRY ? work->g_carry + i * length : work->g_last, call->g_carry[i] + block->first);
}

/* The blocks slot, slot + slots, ... in this order. */
static int backward_slot(const neuron_backward_call *call, const real *columns, const real *rows, int64_t slot,
                         int64_t slots, const Sums *sums)
{
    BackwardWork work;
    if (backward_work(call, &work))
        return 1;
    const unsigned old = denormals_off();
    for (int64_t i = slot; i * BLOCK < call->samples; i += slots) {
        const int64_t samples = MIN(BLOCK, call->samples - i * BLOCK);
        const Block block = {i, samples, samples * call->neurons, i * BLOCK * call->neurons,
                             call->lengths ? call->lengths + i * BLOCK : NULL};
        backward_block(call, &work, &block, columns, rows, sums + slot);
    }
    denormals_restore(old);
    free(work.memory);
    return 0;
}

/* The sums of the slots, in their order. */
static void add_slots(const neuron_backward_call *call, int64_t slots, int64_t size, double *memory, const Sums *sums)
{
    const int64_t n = call->neurons, width = padded(n);
    for (int64_t s = 1; s < slots; s++)
        for (int64_t j = 0; j < size; j++)
            memory[j] += memory[s * size + j];
    for (int k = 0; k < N_TRAINED; k++) {
        const double *sum = sums->coefficients + k * n;
        double total = 0;
        for (int64_t j = 0; j < n; j++) {
            total += sum[j];
            call->g_coefficients[k][TRAINED_PER_NEURON[k] ? j : 0] = (real)(TRAINED_PER_NEURON[k] ? sum[j] : total);
        }
    }
    for (int64_t j = 0; call->g_bias && j < n; j++)
        call->g_bias[j] = (real)sums->bias[j];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            call->g_weights[i * n + j] = (real)sums->weights[j * width + i];
}

/* Without a sample nothing has a gradient. */
static int backward_of_nothing(const neuron_backward_call *call)
{
    const int64_t n = call->neurons;
    zero(n * n, call->g_weights);
    if (call->g_bias)
        zero(n, call->g_bias);
    for (int k = 0; k < N_TRAINED; k++)
        zero(TRAINED_PER_NEURON[k] ? n : 1, call->g_coefficients[k]);
    return 0;
}

/* 0, or 1 where memory ran out. */
int neuron_backward(const neuron_backward_call *call)
{
    if (call->samples == 0 || call->neurons == 0)
        return backward_of_nothing(call);
    const int64_t n = call->neurons, blocks = (call->samples + BLOCK - 1) / BLOCK;
    const int64_t slots = MIN(SLOTS, blocks), threads = MIN(call->threads, slots);
    const int64_t size = (N_TRAINED + 1 + padded(n)) * n; /* of a slot's sums */
    real *columns = padded_matrix(n, call->weights, 1), *rows = padded_matrix(n, call->weights, 0);
    double *memory = calloc((size_t)(slots * size), sizeof *memory);
    int failed = !columns || !rows || !memory;
    Sums sums[SLOTS];
    for (int64_t s = 0; !failed && s < slots; s++) {
        double *start = memory + s * size;
        sums[s] = (Sums){start, start + N_TRAINED * n, start + (N_TRAINED + 1) * n};
    }
#if defined(_OPENMP)
    if (!failed && threads > 1) {
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(|| : failed)
        for (int64_t s = 0; s < slots; s++)
            failed = failed || backward_slot(call, columns, rows, s, slots, sums);
    }
#endif
    if (!PARALLEL || threads <= 1)
        for (int64_t s = 0; !failed && s < slots; s++)
            failed = backward_slot(call, columns, rows, s, slots, sums);
    if (!failed)
        add_slots(call, slots, size, memory, sums);
    free(columns);
    free(rows);
    free(memory);
    return failed;
}
