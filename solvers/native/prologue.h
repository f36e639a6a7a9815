/* For long straight-line code that runs once a call: optimizing it takes longer than it ever saves. */
#if defined(__GNUC__) && !defined(__clang__)
#define BUILT_QUICKLY __attribute__((optimize("O1")))
#else
#define BUILT_QUICKLY
#endif

/* How the stored numbers of a parameter lie: number k of slot i is parameters[i][k*strides[i]], k over nothing,
   channels or lanes by its level. `numbers` is dt, then the bounds of each slot; `kinds` its map into its domain. */
typedef struct {
    int64_t channels, lanes, samples;           /* the lanes of a channel are neighbours */
    const double *numbers;
    const int64_t *kinds, *strides;
    const real *parameters[N_PARAMETERS];
    double *stored;                             /* a copy of the stored numbers, slot by slot, for the reverse */
    real *coefficients[N_COEFFICIENTS];         /* one number, or (lanes) where PER_NEURON */
    real *carry[N_CARRY];                       /* (samples, lanes), the initial values; NULL: not wanted */
} neuron_prologue_forward_call;

typedef struct {
    int64_t channels, lanes, samples;
    const double *numbers;
    const int64_t *kinds, *strides;
    const double *stored;
    const real *g_coefficients[N_TRAINED];
    const real *g_carry[N_CARRY];               /* (samples, lanes); NULL: zero */
    real *g_parameters[N_PARAMETERS];           /* as the stored numbers lie; NULL: not wanted */
} neuron_prologue_backward_call;

/* Numbers of a slot: LEVEL is 0 for one of the layer, 1 for one of each channel, 2 for one of each neuron. */
static int64_t numbers_of(int level, int64_t channels, int64_t lanes)
{
    return level == 0 ? 1 : level == 1 ? channels : lanes;
}

static void stored_rows(const double *stored, int64_t channels, int64_t lanes, const double **rows)
{
    for (int i = 0; i < N_PARAMETERS; i++) {
        rows[i] = stored;
        stored += numbers_of(LEVEL[i], channels, lanes);
    }
}

/* From a stored number into the domain; the kinds count the maps of neuroode.nn.prologue. */
static double constrained(int64_t kind, const double *bounds, double x)
{
    switch (kind) {
    case 1: return fmax(x, 0) + log1p(exp(-fabs(x)));
    case 2: return fabs(x);
    case 3: return x < 0 ? 0 : x;
    case 4: return exp(x);
    case 5: return bounds[0] + (bounds[1] - bounds[0]) / (1 + exp(-x));
    case 6: return bounds[0] + (bounds[1] - bounds[0]) * ((tanh(x) + 1) / 2);
    default: return x;
    }
}

static double slope_of(int64_t kind, const double *bounds, double x)
{
    const double share = 1 / (1 + exp(-x)), t = tanh(x);
    switch (kind) {
    case 1: return share;
    case 2: return (x > 0) - (x < 0);
    case 3: return x >= 0;
    case 4: return exp(x);
    case 5: return (bounds[1] - bounds[0]) * share * (1 - share);
    case 6: return (bounds[1] - bounds[0]) * (1 - t * t) / 2;
    default: return 1;
    }
}

static inline double value_of(const double *numbers, const int64_t *kinds, int i, double x)
{
    return kinds[i] == 0 ? x : constrained(kinds[i], numbers + 1 + 2 * i, x);
}

static void copy_stored(const neuron_prologue_forward_call *call)
{
    double *to = call->stored;
    for (int i = 0; i < N_PARAMETERS; i++)
        for (int64_t k = 0; k < numbers_of(LEVEL[i], call->channels, call->lanes); k++)
            *to++ = call->parameters[i][k * call->strides[i]];
}

/* All samples start like the first. */
static void repeat_carry(const neuron_prologue_forward_call *call)
{
    for (int i = 0; i < N_CARRY; i++)
        for (int64_t b = 1; call->carry[i] && b < call->samples; b++)
            memcpy(call->carry[i] + b * call->lanes, call->carry[i], (size_t)call->lanes * sizeof(real));
}

/* What some lanes of all samples sum up to; 0 where there is no array. */
static double summed(const real *rows, int64_t samples, int64_t lanes, int64_t first, int64_t count)
{
    double sum = 0;
    for (int64_t b = 0; rows && b < samples; b++)
        for (int64_t j = first; j < first + count; j++)
            sum += rows[b * lanes + j];
    return sum;
}

/* The gradient of stored number k of slot i from that of the constrained one. */
static void give(const neuron_prologue_backward_call *call, const double *const *stored, int i, int64_t k, double g)
{
    if (!call->g_parameters[i])
        return;
    const double slope = call->kinds[i] == 0 ? 1 : slope_of(call->kinds[i], call->numbers + 1 + 2 * i, stored[i][k]);
    call->g_parameters[i][k * call->strides[i]] = (real)(g * slope);
}

static void give_zero(const neuron_prologue_backward_call *call)
{
    for (int i = 0; i < N_PARAMETERS; i++)
        for (int64_t k = 0; !GRADED[i] && call->g_parameters[i] && k < numbers_of(LEVEL[i], call->channels, call->lanes); k++)
            call->g_parameters[i][k * call->strides[i]] = 0;
}
