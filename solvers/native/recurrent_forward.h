/* What a thread holds during the forward pass. */
typedef struct {
    real *memory;
    real *state;  /* BLOCK x N_STATES rows */
    real *input;  /* N_INPUTS rows */
    real *output; /* N_OUTPUTS rows */
    real *event;  /* N_EVENTS rows */
    real *rows;   /* N_COEFFICIENTS rows */
    int32_t *active;
    const real *coefficients[N_COEFFICIENTS];
} ForwardWork;

static int forward_work(const neuron_forward_call *call, ForwardWork *work)
{
    const int64_t width = padded(call->neurons);
    const int64_t rows = BLOCK * N_STATES + N_INPUTS + N_OUTPUTS + N_EVENTS + N_COEFFICIENTS;
    work->memory = lines((size_t)(rows * width) * sizeof(real) + (size_t)width * sizeof(int32_t));
    if (!work->memory)
        return 1;
    work->state = work->memory;
    work->input = work->state + BLOCK * N_STATES * width;
    work->output = work->input + N_INPUTS * width;
    work->event = work->output + N_OUTPUTS * width;
    work->rows = work->event + N_EVENTS * width;
    work->active = (int32_t *)(work->rows + N_COEFFICIENTS * width);
    memset(work->input, 0, (size_t)(N_INPUTS * width) * sizeof(real));
    pad_coefficients(call->neurons, call->coefficients, work->rows, work->coefficients);
    return 0;
}

/* One step of one sample; `state` holds its carry and, last, its last output. */
static void forward_sample(const neuron_forward_call *call, ForwardWork *work, const real *columns, real *state,
                           int64_t sample, int64_t t)
{
    const int64_t n = call->neurons, width = padded(n), words = (n + 63) / 64, lane = sample * n;
    const int64_t row = call->samples * n;
    const real *x[N_INPUTS];
    real *next[N_CARRY], *out[N_OUTPUTS], *event[N_EVENTS], *last = state + N_CARRY * width;
    if (call->checkpoints && t % CHUNK == 0)
        for (int i = 0; i < N_STATES; i++)
            copy_out(n, state + i * width, call->checkpoints + (t / CHUNK * N_STATES + i) * row + lane);
    for (int i = 0; i < N_INPUTS; i++) {
        x[i] = work->input + i * width;
        copy_in(n, call->inputs[i] + t * call->input_step[i] + lane, work->input + i * width);
    }
    add_drive(call->bias, n, last, columns, width, work->active, work->input + RECURRENT_INPUT * width);
    for (int i = 0; i < N_CARRY; i++)
        next[i] = state + i * width;
    for (int i = 0; i < N_OUTPUTS; i++)
        out[i] = i == RECURRENT_OUTPUT ? last : work->output + i * width;
    for (int i = 0; i < N_EVENTS; i++)
        event[i] = EVENT_OUTPUT[i] < 0 ? work->event + i * width : out[EVENT_OUTPUT[i]];
    step(width, work->coefficients, x, (const real *const *)next, next, out, event);
    for (int i = 0; i < N_OUTPUTS; i++)
        copy_out(n, out[i], call->outputs[i] + t * row + lane);
    for (int i = 0; call->bits && i < N_EVENTS; i++)
        pack(n, event[i], call->bits + ((t * N_EVENTS + i) * call->samples + sample) * words);
}

static void forward_block(const neuron_forward_call *call, ForwardWork *work, const real *columns, int64_t block)
{
    const int64_t n = call->neurons, width = padded(n), first = block * BLOCK, row = call->samples * n;
    const int64_t samples = MIN(BLOCK, call->samples - first);
    for (int64_t b = 0; b < samples; b++)
        for (int i = 0; i < N_STATES; i++)
            copy_padded(n, call->carry[i] + (first + b) * n, work->state + (b * N_STATES + i) * width);
    for (int64_t t = 0; t < call->steps; t++) {
        for (int i = 0; i < N_INPUTS && t + AHEAD < call->steps; i++)
            prefetch(samples * n, call->inputs[i] + (t + AHEAD) * call->input_step[i] + first * n);
        for (int i = 0; i < N_OUTPUTS && t + AHEAD < call->steps; i++)
            prefetch_to_write(samples * n, call->outputs[i] + (t + AHEAD) * row + first * n);
        for (int64_t b = 0; b < samples; b++) {
            if (call->lengths && t >= call->lengths[first + b])
                for (int i = 0; i < N_OUTPUTS; i++)
                    zero(n, call->outputs[i] + t * row + (first + b) * n);
            else
                forward_sample(call, work, columns, work->state + b * N_STATES * width, first + b, t);
        }
    }
    for (int64_t b = 0; b < samples; b++)
        for (int i = 0; i < N_STATES; i++)
            copy_out(n, work->state + (b * N_STATES + i) * width, call->last_carry[i] + (first + b) * n);
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
