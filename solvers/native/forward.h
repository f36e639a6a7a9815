/* A tile is a run of neighbouring lanes; its size depends on the shape alone, so that sums do not depend on threads. */
typedef struct {
    int64_t first;  /* its first lane in a row of samples*neurons lanes */
    int64_t lanes;
    int64_t neuron; /* the neuron of its first lane */
    int64_t end;    /* the number of steps that it runs */
    int64_t word;   /* its first word in a row of event bits */
} Tile;

static int64_t tile_count(int64_t samples, int64_t neurons, const int64_t *lengths)
{
    if (samples == 0 || neurons == 0)
        return 0;
    if (neurons > LANES)
        return samples * ((neurons + LANES - 1) / LANES);
    int64_t together = lengths ? 1 : LANES / neurons;
    return (samples + together - 1) / together;
}

/* Several samples of few neurons, or a part of one sample of many; with `lengths`, never more than one sample. */
static Tile *make_tiles(int64_t steps, int64_t samples, int64_t neurons, const int64_t *lengths)
{
    int64_t count = tile_count(samples, neurons, lengths);
    Tile *tiles = malloc((size_t)(count + 1) * sizeof *tiles);
    int64_t parts = (neurons + LANES - 1) / LANES, together = lengths || neurons > LANES ? 1 : LANES / MAX(neurons, 1);
    for (int64_t i = 0; tiles && i < count; i++) {
        int64_t sample = i / parts * together, neuron = i % parts * LANES;
        int64_t lanes = neurons > LANES ? MIN(LANES, neurons - neuron) : MIN(together, samples - sample) * neurons;
        int64_t first = sample * neurons + neuron;
        tiles[i] = (Tile){first, lanes, neuron, lengths ? MIN(lengths[sample], steps) : steps, first / 64 + i};
    }
    return tiles;
}

/* Coefficient rows as long as a tile of several samples; a row longer than a tile is read where it lies. */
static void expand_coefficients(int64_t neurons, const real *const *given, real (*rows)[ROW], const real **used)
{
    for (int i = 0; i < N_COEFFICIENTS; i++) {
        used[i] = given[i];
        if (!PER_NEURON[i] || neurons > LANES)
            continue;
        used[i] = rows[i];
        for (int64_t first = 0; first + neurons <= LANES; first += neurons)
            memcpy(rows[i] + first, given[i], (size_t)neurons * sizeof(real));
    }
}

/* Stores that bypass the caches: for arrays that do not fit there. Both addresses are multiples of 64 bytes. */
static void stream(int64_t n, const real *from, real *to)
{
#if defined(__AVX512F__)
    for (int64_t j = 0; j < n; j += 64 / (int64_t)sizeof(real))
        _mm512_stream_si512((void *)(to + j), _mm512_load_si512(from + j));
#elif defined(__AVX__)
    for (int64_t j = 0; j < n; j += 32 / (int64_t)sizeof(real))
        _mm256_stream_si256((void *)(to + j), _mm256_load_si256((const void *)(from + j)));
#else
    memcpy(to, from, (size_t)n * sizeof(real));
#endif
}

static void stream_end(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

static int aligned(const void *address) { return ((uintptr_t)address & 63) == 0; }

/* May rows of `lanes` numbers that start at `array` be streamed? */
static int can_stream(const real *array, int64_t lanes, const Tile *tile)
{
    return aligned(array) && lanes * (int64_t)sizeof(real) % 64 == 0 && tile->first * (int64_t)sizeof(real) % 64 == 0
        && tile->lanes * (int64_t)sizeof(real) % 64 == 0;
}

/*: forward */
/* What a thread holds during the forward pass. */
typedef struct {
    real output[N_OUTPUTS][ROW];
    real event[N_EVENTS][ROW];
    real rows[N_COEFFICIENTS][ROW];
    const real *coefficients[N_COEFFICIENTS];
} ForwardWork;

static void forward_step(const neuron_forward_call *call, ForwardWork *work, const Tile *tile, int64_t tiles, int64_t t)
{
    const int64_t row = call->samples * call->neurons, n = tile->lanes;
    const int64_t words = row / 64 + tiles;
    const real *k[N_COEFFICIENTS], *x[N_INPUTS];
    real *state[N_CARRY], *out[N_OUTPUTS], *event[N_EVENTS];
    int streams = (int)call->stream;
    for (int i = 0; i < N_OUTPUTS; i++) {
        out[i] = call->outputs[i] + t * row + tile->first;
        streams = streams && can_stream(call->outputs[i], row, tile);
    }
    if (t >= tile->end) {
        for (int i = 0; i < N_OUTPUTS; i++)
            memset(out[i], 0, (size_t)n * sizeof(real));
        return;
    }
    for (int i = 0; i < N_COEFFICIENTS; i++)
        k[i] = work->coefficients[i] + (PER_NEURON[i] ? tile->neuron : 0);
    for (int i = 0; i < N_INPUTS; i++)
        x[i] = call->inputs[i] + t * call->input_step[i] + tile->first;
    for (int i = 0; i < N_CARRY; i++) {
        state[i] = call->last_carry[i] + tile->first;
        if (call->checkpoints && t % CHUNK == 0)
            memcpy(call->checkpoints + (t / CHUNK * N_CARRY + i) * row + tile->first, state[i], (size_t)n * sizeof(real));
    }
    for (int i = 0; i < N_OUTPUTS; i++)
        out[i] = streams ? work->output[i] : out[i];
    for (int i = 0; i < N_EVENTS; i++)
        event[i] = EVENT_OUTPUT[i] < 0 ? work->event[i] : out[EVENT_OUTPUT[i]];
    step(n, k, x, (const real *const *)state, state, out, event);
    for (int i = 0; call->bits && i < N_EVENTS; i++)
        pack(n, event[i], call->bits + (t * N_EVENTS + i) * words + tile->word);
    for (int i = 0; streams && i < N_OUTPUTS; i++)
        stream(n, work->output[i], call->outputs[i] + t * row + tile->first);
}

/* Whole rows of the thread's lanes, step by step, in groups of lanes whose states stay in the cache. */
static int forward_tiles(const neuron_forward_call *call, const Tile *tiles, int64_t count, int64_t lo, int64_t hi)
{
    if (lo == hi)
        return 0;
    ForwardWork *work = lines(sizeof *work);
    if (!work)
        return 1;
    const unsigned old = denormals_off();
    expand_coefficients(call->neurons, call->coefficients, work->rows, work->coefficients);
    for (int64_t start = lo; start < hi; start += GROUP)
        for (int64_t t = 0; t < call->steps; t++)
            for (int64_t i = start; i < MIN(hi, start + GROUP); i++)
                forward_step(call, work, tiles + i, count, t);
    stream_end();
    denormals_restore(old);
    free(work);
    return 0;
}

/* 0, or 1 where memory ran out. */
int neuron_forward(const neuron_forward_call *call)
{
    const int64_t count = tile_count(call->samples, call->neurons, call->lengths), threads = MIN(call->threads, count);
    Tile *tiles = make_tiles(call->steps, call->samples, call->neurons, call->lengths);
    int failed = !tiles;
    for (int i = 0; !failed && i < N_CARRY; i++)
        if (call->carry[i] != call->last_carry[i]) /* where they are one, they hold the initial values */
            memcpy(call->last_carry[i], call->carry[i], (size_t)(call->samples * call->neurons) * sizeof(real));
#if defined(_OPENMP)
    if (!failed && threads > 1) {
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(|| : failed)
        for (int64_t i = 0; i < threads; i++)
            failed = failed || forward_tiles(call, tiles, count, count * i / threads, count * (i + 1) / threads);
    }
#endif
    if (!failed && (!PARALLEL || threads <= 1))
        failed = forward_tiles(call, tiles, count, 0, count);
    free(tiles);
    return failed;
}
