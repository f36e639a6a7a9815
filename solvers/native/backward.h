/* What a thread holds during the backward pass: one chunk of steps of one tile. */
typedef struct {
    real history[CHUNK][N_CARRY][ROW];
    real event[N_EVENTS][ROW];
    real g_carry[N_CARRY][ROW];
    real g_input[N_INPUTS][ROW];
    real sums[N_TRAINED][ROW];
    real rows[N_COEFFICIENTS][ROW];
    const real *coefficients[N_COEFFICIENTS];
} BackwardWork;

static const real no_cotangent[LANES];


typedef double Sums[N_TRAINED][LANES];

/* Steps first..last-1 of a tile from the checkpoint before them: afterwards history[t - first] is the carry before t. */
static void replay_chunk(const neuron_backward_call *call, BackwardWork *work, const Tile *tile, int64_t tiles,
                         const real *const *k, int64_t first, int64_t last)
{
    const int64_t row = call->samples * call->neurons, n = tile->lanes, words = row / 64 + tiles;
    const real *x[N_INPUTS], *state[N_CARRY];
    real *next[N_CARRY], *event[N_EVENTS];
    for (int i = 0; i < N_CARRY; i++)
        memcpy(work->history[0][i], call->checkpoints + (first / CHUNK * N_CARRY + i) * row + tile->first,
               (size_t)n * sizeof(real));
    for (int64_t t = first; t + 1 < last; t++) {
        for (int i = 0; i < N_INPUTS; i++) {
            x[i] = call->inputs[i] + t * call->input_step[i] + tile->first;
            prefetch(n, x[i] + (t + AHEAD < last ? AHEAD * call->input_step[i] : 0));
        }
        for (int i = 0; i < N_CARRY; i++) {
            state[i] = work->history[t - first][i];
            next[i] = work->history[t - first + 1][i];
        }
        for (int i = 0; i < N_EVENTS; i++) {
            event[i] = work->event[i];
            unpack(n, call->bits + (t * N_EVENTS + i) * words + tile->word, event[i]);
        }
        replay(n, k, x, state, (const real *const *)event, next);
    }
}

/* Cotangents of the input of step t go to the caller, or to a scratch row. */
static void reverse_step(const neuron_backward_call *call, BackwardWork *work, const Tile *tile, int64_t tiles,
                         const real *const *k, int64_t first, int64_t t)
{
    const int64_t row = call->samples * call->neurons, n = tile->lanes, words = row / 64 + tiles;
    const real *x[N_INPUTS], *state[N_CARRY], *g_out[N_OUTPUTS];
    real *event[N_EVENTS], *g_carry[N_CARRY], *g_input[N_INPUTS], *sums[N_TRAINED];
    int streams[N_INPUTS];
    for (int i = 0; i < N_INPUTS; i++) {
        real *to = call->g_inputs[i] ? call->g_inputs[i] + t * row + tile->first : work->g_input[i];
        streams[i] = call->stream && call->g_inputs[i] && can_stream(call->g_inputs[i], row, tile);
        x[i] = call->inputs[i] + t * call->input_step[i] + tile->first;
        g_input[i] = streams[i] ? work->g_input[i] : to;
    }
    for (int i = 0; i < N_CARRY; i++) {
        state[i] = work->history[t - first][i];
        g_carry[i] = work->g_carry[i];
    }
    for (int i = 0; i < N_OUTPUTS; i++) {
        g_out[i] = call->g_outputs[i] ? call->g_outputs[i] + t * call->g_output_step[i] + tile->first : no_cotangent;
        if (call->g_outputs[i])
            prefetch(n, g_out[i] - (t - AHEAD >= first ? AHEAD * call->g_output_step[i] : 0));
    }
    for (int i = 0; i < N_EVENTS; i++) {
        event[i] = work->event[i];
        if (REVERSE_READS_EVENTS)
            unpack(n, call->bits + (t * N_EVENTS + i) * words + tile->word, event[i]);
    }
    for (int i = 0; i < N_TRAINED; i++)
        sums[i] = work->sums[i];
    reverse(n, k, x, state, (const real *const *)event, g_out, g_carry, g_input, sums);
    for (int i = 0; i < N_INPUTS; i++)
        if (streams[i])
            stream(n, work->g_input[i], call->g_inputs[i] + t * row + tile->first);
}

/* One chunk: replay, reverse, and the chunk's parameter gradients added in double precision. */
static void backward_chunk(const neuron_backward_call *call, BackwardWork *work, const Tile *tile, int64_t tiles,
                           int64_t first, Sums sums)
{
    const int64_t row = call->samples * call->neurons, n = tile->lanes;
    const int64_t stop = MIN(first + CHUNK, call->steps), last = MIN(stop, tile->end);
    for (int i = 0; i < N_INPUTS; i++)
        for (int64_t t = MAX(first, last); call->g_inputs[i] && t < stop; t++)
            memset(call->g_inputs[i] + t * row + tile->first, 0, (size_t)n * sizeof(real));
    if (last <= first)
        return;
    const real *k[N_COEFFICIENTS];
    for (int i = 0; i < N_COEFFICIENTS; i++)
        k[i] = work->coefficients[i] + (PER_NEURON[i] ? tile->neuron : 0);
    for (int i = 0; i < N_CARRY; i++)
        memcpy(work->g_carry[i], call->g_carry[i] + tile->first, (size_t)n * sizeof(real));
    for (int i = 0; i < N_TRAINED; i++)
        memset(work->sums[i], 0, (size_t)n * sizeof(real));
    replay_chunk(call, work, tile, tiles, k, first, last);
    for (int64_t t = last - 1; t >= first; t--)
        reverse_step(call, work, tile, tiles, k, first, t);
    for (int i = 0; i < N_CARRY; i++)
        memcpy(call->g_carry[i] + tile->first, work->g_carry[i], (size_t)n * sizeof(real));
    for (int i = 0; i < N_TRAINED; i++)
        for (int64_t j = 0; j < n; j++)
            sums[i][j] += work->sums[i][j];
}

static int backward_tiles(const neuron_backward_call *call, const Tile *tiles, int64_t count, int64_t lo, int64_t hi,
                          Sums *sums)
{
    if (lo == hi)
        return 0;
    BackwardWork *work = lines(sizeof *work);
    if (!work)
        return 1;
    const unsigned old = denormals_off();
    expand_coefficients(call->neurons, call->coefficients, work->rows, work->coefficients);
    for (int64_t first = (call->steps - 1) / CHUNK * CHUNK; call->steps && first >= 0; first -= CHUNK)
        for (int64_t i = lo; i < hi; i++)
            backward_chunk(call, work, tiles + i, count, first, sums[i]);
    stream_end();
    denormals_restore(old);
    free(work);
    return 0;
}

/* The sums of all tiles, in the order of the tiles, as (neurons) or one number. */
static int add_tiles(const neuron_backward_call *call, const Tile *tiles, int64_t count, Sums *sums)
{
    double *total = malloc((size_t)(call->neurons + 1) * sizeof *total);
    for (int k = 0; total && k < N_TRAINED; k++) {
        const int64_t size = TRAINED_PER_NEURON[k] ? call->neurons : 1;
        memset(total, 0, (size_t)size * sizeof *total);
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0, neuron = tiles[i].neuron; j < tiles[i].lanes; j++) {
                total[size == 1 ? 0 : neuron] += sums[i][k][j];
                neuron = neuron + 1 == call->neurons ? 0 : neuron + 1;
            }
        for (int64_t j = 0; j < size; j++)
            call->g_coefficients[k][j] = (real)total[j];
    }
    free(total);
    return total == NULL;
}

/* 0, or 1 where memory ran out. */
int neuron_backward(const neuron_backward_call *call)
{
    const int64_t count = tile_count(call->samples, call->neurons, call->lengths), threads = MIN(call->threads, count);
    Tile *tiles = make_tiles(call->steps, call->samples, call->neurons, call->lengths);
    Sums *sums = calloc((size_t)count + 1, sizeof(Sums) + 1);
    int failed = !tiles || !sums;
    for (int i = 0; !failed && i < N_CARRY; i++) {
        const size_t size = (size_t)(call->samples * call->neurons) * sizeof(real);
        if (call->g_last_carry[i])
            memcpy(call->g_carry[i], call->g_last_carry[i], size);
        else
            memset(call->g_carry[i], 0, size);
    }
#if defined(_OPENMP)
    if (!failed && threads > 1) {
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(|| : failed)
        for (int64_t i = 0; i < threads; i++)
            failed = failed || backward_tiles(call, tiles, count, count * i / threads, count * (i + 1) / threads, sums);
    }
#endif
    if (!failed && (!PARALLEL || threads <= 1))
        failed = backward_tiles(call, tiles, count, 0, count, sums);
    failed = failed || add_tiles(call, tiles, count, sums);
    free(sums);
    free(tiles);
    return failed;
}
