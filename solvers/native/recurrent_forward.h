/* What a thread holds during the forward pass. */
typedef struct {
    real *memory;
    real *state;  /* N_STATES rows */
    real *ended;  /* N_STATES rows: what the samples that have ended keep */
    real *start;  /* 1 row: the driven input without what comes back */
    real *driven; /* 1 row */
    real *event;  /* N_EVENTS rows */
    real *bias;   /* 1 row */
    real *rows;   /* N_COEFFICIENTS rows */
    Active active;
    const real *coefficients[N_COEFFICIENTS];
} ForwardWork;

static int forward_work(const neuron_forward_call *call, ForwardWork *work)
{
    const Part parts[] = {
        {&work->state, N_STATES}, {&work->ended, N_STATES}, {&work->start, 1}, {&work->driven, 1},
        {&work->event, N_EVENTS}, {&work->bias, 1}, {&work->rows, N_COEFFICIENTS},
    };
    work->memory = cut(parts, sizeof parts / sizeof *parts, call->neurons, &work->active);
    if (!work->memory)
        return 1;
    if (call->bias)
        repeat(call->neurons, call->bias, work->bias);
    repeat_coefficients(call->neurons, call->coefficients, work->rows, work->coefficients);
    return 0;
}

/* One step of a block; `work->state` holds its carry and, last, its last output. */
static void forward_step(const neuron_forward_call *call, ForwardWork *work, const real *columns, int64_t block, int64_t t)
{
    const int64_t n = call->neurons, length = row_length(n), first = block * BLOCK, row = call->samples * n;
    const int64_t samples = MIN(BLOCK, call->samples - first), lanes = samples * n, words = words_of_block(n);
    const int64_t blocks = (call->samples + BLOCK - 1) / BLOCK, *lengths = call->lengths ? call->lengths + first : NULL;
    const real *x[N_INPUTS];
    real *state[N_CARRY], *out[N_OUTPUTS], *event[N_EVENTS], *last = work->state + N_CARRY * length;
    if (call->checkpoints && t % CHUNK == 0)
        for (int i = 0; i < N_STATES; i++)
            copy(lanes, work->state + i * length, call->checkpoints + (t / CHUNK * N_STATES + i) * row + first * n);
    if (lengths)
        copy_ended(lengths, samples, n, t, N_STATES, work->state, work->ended);
    for (int i = 0; i < N_INPUTS; i++)
        x[i] = call->inputs[i] + t * call->input_step[i] + first * n;
    drive(samples, n, x[RECURRENT_INPUT], work->bias, last, columns, &work->active, work->start, work->driven);
    x[RECURRENT_INPUT] = work->driven;
    for (int i = 0; i < N_CARRY; i++)
        state[i] = work->state + i * length;
    for (int i = 0; i < N_OUTPUTS; i++)
        out[i] = i == RECURRENT_OUTPUT ? last : call->outputs[i] + t * row + first * n;
    for (int i = 0; i < N_EVENTS; i++)
        event[i] = EVENT_OUTPUT[i] < 0 ? work->event + i * length : out[EVENT_OUTPUT[i]];
    step(lanes, work->coefficients, x, (const real *const *)state, state, out, event);
    for (int i = 0; call->bits && i < N_EVENTS; i++)
        pack(lanes, event[i], call->bits + ((t * N_EVENTS + i) * blocks + block) * words);
    copy(lanes, last, call->outputs[RECURRENT_OUTPUT] + t * row + first * n);
    if (!lengths)
        return;
    copy_ended(lengths, samples, n, t, N_STATES, work->ended, work->state);
    for (int i = 0; i < N_OUTPUTS; i++)
        zero_ended(lengths, samples, n, t, call->outputs[i] + t * row + first * n);
}

static void forward_block(const neuron_forward_call *call, ForwardWork *work, const real *columns, int64_t block)
{
    const int64_t n = call->neurons, length = row_length(n), first = block * BLOCK, row = call->samples * n;
    const int64_t lanes = MIN(BLOCK, call->samples - first) * n;
    for (int i = 0; i < N_STATES; i++)
        copy(lanes, call->carry[i] + first * n, work->state + i * length);
    for (int64_t t = 0; t < call->steps; t++) {
        const int64_t ahead = MIN(t + AHEAD, call->steps - 1);
        for (int i = 0; i < N_INPUTS; i++)
            prefetch(lanes, call->inputs[i] + ahead * call->input_step[i] + first * n);
        for (int i = 0; i < N_OUTPUTS; i++)
            prefetch_to_write(lanes, call->outputs[i] + ahead * row + first * n);
        forward_step(call, work, columns, block, t);
    }
    for (int i = 0; i < N_STATES; i++)
        copy(lanes, work->state + i * length, call->last_carry[i] + first * n);
}

static int forward_blocks(const neuron_forward_call *call, const real *columns, int64_t lo, int64_t hi)
{
    ForwardWork work;
    if (forward_work(call, &work))
        return 1;
    const unsigned old = denormals_off();
    for (int64_t block = lo; block < hi; block++)
        forward_block(call, &work, columns, block);
    denormals_restore(old);
    free(work.memory);
    return 0;
}

/* 0, or 1 where memory ran out. */
int neuron_forward(const neuron_forward_call *call)
{
    if (call->samples == 0 || call->neurons == 0)
        return 0;
    const int64_t blocks = (call->samples + BLOCK - 1) / BLOCK, threads = MIN(call->threads, blocks);
    real *columns = padded_matrix(call->neurons, call->weights, 1);
    int failed = !columns;
#if defined(_OPENMP)
    if (!failed && threads > 1) {
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(|| : failed)
        for (int64_t i = 0; i < threads; i++)
            failed = failed || forward_blocks(call, columns, blocks * i / threads, blocks * (i + 1) / threads);
    }
#endif
    if (!failed && (!PARALLEL || threads <= 1))
        failed = forward_blocks(call, columns, 0, blocks);
    free(columns);
    return failed;
}
