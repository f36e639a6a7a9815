/* Rows of one sample before one step: its carry, its last output, and its driven input where the reverse reads it. */
enum { HISTORY_ROWS = N_STATES + KEEP_DRIVE };

/* Sums of a slot: over its blocks in double precision. */
typedef struct {
    double *coefficients; /* N_TRAINED rows */
    double *bias;
    double *weights;      /* [before][after] */
} Sums;

/* What a slot holds during the backward pass. */
typedef struct {
    real *memory;
    real *history; /* CHUNK x BLOCK x HISTORY_ROWS rows */
    real *input;   /* N_INPUTS rows */
    real *event;   /* N_EVENTS rows */
    real *output;  /* N_OUTPUTS rows: what nobody reads */
    real *g_out;   /* N_OUTPUTS rows */
    real *g_input; /* N_INPUTS rows */
    real *g_carry; /* BLOCK x N_CARRY rows */
    real *g_last;  /* BLOCK rows: cotangents of the last outputs */
    real *g_before; /* the same, one step earlier */
    real *delta;   /* BLOCK rows: cotangents of the driven inputs */
    real *sums;    /* N_TRAINED rows */
    real *bias;    /* 1 row */
    real *weights; /* neurons rows: [before][after] */
    real *rows;    /* N_COEFFICIENTS rows */
    int32_t *active;
    const real *coefficients[N_COEFFICIENTS];
} BackwardWork;

static int backward_work(const neuron_backward_call *call, BackwardWork *work)
{
    const int64_t n = call->neurons, width = padded(n);
    struct { real **place; int64_t rows; } parts[] = {
        {&work->history, CHUNK * BLOCK * HISTORY_ROWS}, {&work->input, N_INPUTS}, {&work->event, N_EVENTS},
        {&work->output, MAX(N_OUTPUTS, 1)}, {&work->g_out, N_OUTPUTS}, {&work->g_input, N_INPUTS},
        {&work->g_carry, BLOCK * N_CARRY}, {&work->g_last, BLOCK}, {&work->g_before, BLOCK}, {&work->delta, BLOCK},
        {&work->sums, N_TRAINED}, {&work->bias, 1}, {&work->weights, n}, {&work->rows, N_COEFFICIENTS},
    };
    const int count = sizeof parts / sizeof *parts;
    int64_t rows = 0;
    for (int i = 0; i < count; i++)
        rows += parts[i].rows;
    work->memory = lines((size_t)(rows * width) * sizeof(real) + (size_t)width * sizeof(int32_t));
    if (!work->memory)
        return 1;
    real *next = work->memory;
    for (int i = 0; i < count; i++) {
        *parts[i].place = next;
        next += parts[i].rows * width;
    }
    work->active = (int32_t *)next;
    zero(N_INPUTS * width, work->input);
    zero(N_OUTPUTS * width, work->g_out);
    pad_coefficients(n, call->coefficients, work->rows, work->coefficients);
    return 0;
}

static real *history_of(const BackwardWork *work, int64_t width, int64_t k, int64_t b)
{
    return work->history + (k * BLOCK + b) * HISTORY_ROWS * width;
}

/* The events of step t; that which is fed back goes to the row `output`. */
static void read_events(const neuron_backward_call *call, BackwardWork *work, int64_t width, int64_t sample, int64_t t,
                        real *output, const real **event)
{
    const int64_t words = (call->neurons + 63) / 64;
    for (int i = 0; i < N_EVENTS; i++) {
        real *row = i == RECURRENT_EVENT ? output : work->event + i * width;
        unpack(call->neurons, call->bits + ((t * N_EVENTS + i) * call->samples + sample) * words, row);
        event[i] = row;
    }
}

static void read_inputs(const neuron_backward_call *call, BackwardWork *work, int64_t width, int64_t sample, int64_t t,
                        const real **x)
{
    for (int i = 0; i < N_INPUTS; i++) {
        x[i] = work->input + i * width;
        copy_in(call->neurons, call->inputs[i] + t * call->input_step[i] + sample * call->neurons, work->input + i * width);
    }
}

/* Step t of one sample again: what stood before it and, unless it is the last of the chunk, what stood after. */
static void replay_sample(const neuron_backward_call *call, BackwardWork *work, const real *columns, int64_t sample,
                          real *now, int64_t t, int is_last)
{
    const int64_t width = padded(call->neurons);
    const real *x[N_INPUTS], *state[N_CARRY], *event[N_EVENTS];
    real *next[N_CARRY], *out[N_OUTPUTS], *after = now + BLOCK * HISTORY_ROWS * width;
    real *driven = work->input + RECURRENT_INPUT * width;
    read_inputs(call, work, width, sample, t, x);
    add_drive(call->bias, call->neurons, now + N_CARRY * width, columns, width, work->active, driven);
    if (KEEP_DRIVE)
        copy_in(width, driven, now + N_STATES * width);
    if (is_last)
        return;
    read_events(call, work, width, sample, t, after + N_CARRY * width, event);
    for (int i = 0; i < N_CARRY; i++) {
        state[i] = now + i * width;
        next[i] = after + i * width;
    }
    for (int i = 0; i < N_OUTPUTS; i++)
        out[i] = i == RECURRENT_OUTPUT ? after + N_CARRY * width : work->output + i * width;
    replay(width, work->coefficients, x, state, event, next, out);
}

/* Steps first..stop-1 of a block: afterwards history[t - first] is what stood before step t. */
static void replay_block(const neuron_backward_call *call, BackwardWork *work, const real *columns, int64_t start,
                         int64_t samples, int64_t first, int64_t stop)
{
    const int64_t n = call->neurons, width = padded(n), row = call->samples * n;
    for (int64_t b = 0; b < samples; b++)
        for (int i = 0; i < N_STATES; i++)
            copy_padded(n, call->checkpoints + (first / CHUNK * N_STATES + i) * row + (start + b) * n,
                        history_of(work, width, 0, b) + i * width);
    for (int64_t t = first; t + !KEEP_DRIVE < stop; t++) {
        for (int i = 0; i < N_INPUTS && t + AHEAD < stop; i++)
            prefetch(samples * n, call->inputs[i] + (t + AHEAD) * call->input_step[i] + start * n);
        for (int64_t b = 0; b < samples; b++)
            if (!call->lengths || t < call->lengths[start + b])
                replay_sample(call, work, columns, start + b, history_of(work, width, t - first, b), t, t + 1 == stop);
    }
}

/* Cotangents of one sample's outputs at step t: the caller's, and what the next step sent back to the last output. */
static void read_cotangents(const neuron_backward_call *call, BackwardWork *work, int64_t width, int64_t sample,
                            const real *g_last, int64_t t, const real **g_out)
{
    for (int i = 0; i < N_OUTPUTS; i++) {
        real *row = work->g_out + i * width;
        g_out[i] = row;
        if (call->g_outputs[i])
            copy_in(call->neurons, call->g_outputs[i] + t * call->g_output_step[i] + sample * call->neurons, row);
        else
            zero(width, row);
        if (i == RECURRENT_OUTPUT)
            for (int64_t j = 0; j < width; j++)
                row[j] += g_last[j];
    }
}

static void reverse_sample(const neuron_backward_call *call, BackwardWork *work, int64_t sample, int64_t b, int64_t first,
                           int64_t t)
{
    const int64_t n = call->neurons, width = padded(n), row = call->samples * n;
    const real *x[N_INPUTS], *state[N_CARRY], *event[N_EVENTS], *g_out[N_OUTPUTS];
    real *g_carry[N_CARRY], *g_input[N_INPUTS], *sums[N_TRAINED];
    real *now = history_of(work, width, t - first, b), *delta = work->delta + b * width;
    if (REVERSE_READS_INPUTS && N_INPUTS > KEEP_DRIVE)
        read_inputs(call, work, width, sample, t, x);
    if (KEEP_DRIVE)
        x[RECURRENT_INPUT] = now + N_STATES * width;
    if (REVERSE_READS_EVENTS)
        read_events(call, work, width, sample, t, work->output, event);
    read_cotangents(call, work, width, sample, work->g_last + b * width, t, g_out);
    for (int i = 0; i < N_CARRY; i++) {
        state[i] = now + i * width;
        g_carry[i] = work->g_carry + (b * N_CARRY + i) * width;
    }
    for (int i = 0; i < N_INPUTS; i++)
        g_input[i] = i == RECURRENT_INPUT ? delta : work->g_input + i * width;
    for (int i = 0; i < N_TRAINED; i++)
        sums[i] = work->sums + i * width;
    reverse(width, work->coefficients, x, state, event, g_out, g_carry, g_input, sums);
    for (int i = 0; i < N_INPUTS; i++)
        if (call->g_inputs[i])
            copy_out(n, g_input[i], call->g_inputs[i] + t * row + sample * n);
    const real *last = now + N_CARRY * width;
    const int64_t count = find_active(n, last, work->active);
    add_to_active_rows(count, work->active, last, work->weights, width, delta);
    for (int64_t j = 0; call->g_bias && j < width; j++)
        work->bias[j] += delta[j];
}

/* One step of a block: every sample's reverse, then what their inputs' cotangents send back through the weights. */
static void reverse_block_step(const neuron_backward_call *call, BackwardWork *work, const real *rows, int64_t block,
                               int64_t samples, int64_t first, int64_t t)
{
    const int64_t n = call->neurons, width = padded(n), start = block * BLOCK, row = call->samples * n;
    for (int i = 0; i < N_OUTPUTS && t >= first + AHEAD; i++)
        if (call->g_outputs[i])
            prefetch(samples * n, call->g_outputs[i] + (t - AHEAD) * call->g_output_step[i] + start * n);
    for (int i = 0; i < N_INPUTS && t >= AHEAD; i++)
        if (call->g_inputs[i])
            prefetch_to_write(samples * n, call->g_inputs[i] + (t - AHEAD) * row + start * n);
    for (int64_t b = 0; b < samples; b++) {
        if (!call->lengths || t < call->lengths[start + b]) {
            reverse_sample(call, work, start + b, b, first, t);
            continue;
        }
        zero(width, work->delta + b * width);
        for (int i = 0; i < N_INPUTS; i++)
            if (call->g_inputs[i])
                zero(n, call->g_inputs[i] + t * row + (start + b) * n);
    }
    product(samples, n, work->delta, rows, width, work->g_before);
    for (int64_t b = 0; call->lengths && b < samples; b++)
        if (t >= call->lengths[start + b])
            copy_in(width, work->g_last + b * width, work->g_before + b * width);
    real *swap = work->g_last;
    work->g_last = work->g_before;
    work->g_before = swap;
}

/* Row sums of a chunk, in double precision. */
static void add_sums(BackwardWork *work, int64_t width, const Sums *sums)
{
    for (int64_t j = 0; j < N_TRAINED * width; j++)
        sums->coefficients[j] += work->sums[j];
    for (int64_t j = 0; j < width; j++)
        sums->bias[j] += work->bias[j];
    zero(N_TRAINED * width, work->sums);
    zero(width, work->bias);
}

static void backward_block(const neuron_backward_call *call, BackwardWork *work, const real *columns, const real *rows,
                           int64_t block, const Sums *sums)
{
    const int64_t n = call->neurons, width = padded(n), start = block * BLOCK;
    const int64_t samples = MIN(BLOCK, call->samples - start);
    zero(BLOCK * N_CARRY * width, work->g_carry);
    zero(BLOCK * width, work->g_last);
    zero(n * width, work->weights);
    zero(N_TRAINED * width, work->sums);
    zero(width, work->bias);
    for (int64_t b = 0; b < samples; b++)
        for (int i = 0; i < N_STATES; i++)
            if (call->g_last_carry[i])
                copy_in(n, call->g_last_carry[i] + (start + b) * n,
                     i < N_CARRY ? work->g_carry + (b * N_CARRY + i) * width : work->g_last + b * width);
    for (int64_t first = (call->steps - 1) / CHUNK * CHUNK; call->steps && first >= 0; first -= CHUNK) {
        const int64_t stop = MIN(first + CHUNK, call->steps);
        replay_block(call, work, columns, start, samples, first, stop);
        for (int64_t t = stop - 1; t >= first; t--)
            reverse_block_step(call, work, rows, block, samples, first, t);
        add_sums(work, width, sums);
    }
    for (int64_t j = 0; j < n * width; j++)
        sums->weights[j] += work->weights[j];
    for (int64_t b = 0; b < samples; b++)
        for (int i = 0; i < N_STATES; i++)
            copy_out(n, i < N_CARRY ? work->g_carry + (b * N_CARRY + i) * width : work->g_last + b * width,
                 call->g_carry[i] + (start + b) * n);
}

/* The blocks slot, slot + slots, ... in this order. */
static int backward_slot(const neuron_backward_call *call, const real *columns, const real *rows, int64_t blocks,
                         int64_t slot, int64_t slots, const Sums *sums)
{
    BackwardWork work;
    if (backward_work(call, &work))
        return 1;
    const unsigned old = denormals_off();
    for (int64_t block = slot; block < blocks; block += slots)
        backward_block(call, &work, columns, rows, block, sums + slot);
    denormals_restore(old);
    free(work.memory);
    return 0;
}

/* The sums of the slots, in their order. */
static void add_slots(const neuron_backward_call *call, int64_t slots, const Sums *sums)
{
    const int64_t n = call->neurons, width = padded(n);
    for (int64_t s = 1; s < slots; s++) {
        for (int64_t j = 0; j < N_TRAINED * width; j++)
            sums->coefficients[j] += sums[s].coefficients[j];
        for (int64_t j = 0; j < width; j++)
            sums->bias[j] += sums[s].bias[j];
        for (int64_t j = 0; j < n * width; j++)
            sums->weights[j] += sums[s].weights[j];
    }
    for (int k = 0; k < N_TRAINED; k++) {
        const double *sum = sums->coefficients + k * width;
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
    zero(call->g_bias ? n : 0, call->g_bias);
    for (int k = 0; k < N_TRAINED; k++)
        zero(TRAINED_PER_NEURON[k] ? n : 1, call->g_coefficients[k]);
    return 0;
}

/* 0, or 1 where memory ran out. */
int neuron_backward(const neuron_backward_call *call)
{
    if (call->samples == 0 || call->neurons == 0)
        return backward_of_nothing(call);
    const int64_t n = call->neurons, width = padded(n), blocks = (call->samples + BLOCK - 1) / BLOCK;
    const int64_t slots = MIN(SLOTS, blocks), threads = MIN(call->threads, slots);
    const int64_t size = (N_TRAINED + 1 + n) * width; /* of a slot's sums */
    real *columns = padded_matrix(n, call->weights, 1), *rows = padded_matrix(n, call->weights, 0);
    double *memory = calloc((size_t)(slots * size), sizeof *memory);
    int failed = !columns || !rows || !memory;
    Sums sums[SLOTS];
    for (int64_t s = 0; !failed && s < slots; s++) {
        double *start = memory + s * size;
        sums[s] = (Sums){start, start + N_TRAINED * width, start + (N_TRAINED + 1) * width};
    }
#if defined(_OPENMP)
    if (!failed && threads > 1) {
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(|| : failed)
        for (int64_t s = 0; s < slots; s++)
            failed = failed || backward_slot(call, columns, rows, blocks, s, slots, sums);
    }
#endif
    if (!PARALLEL || threads <= 1)
        for (int64_t s = 0; !failed && s < slots; s++)
            failed = backward_slot(call, columns, rows, blocks, s, slots, sums);
    if (!failed)
        add_slots(call, slots, sums);
    free(columns);
    free(rows);
    free(memory);
    return failed;
}
