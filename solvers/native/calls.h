/* One call over the whole sequence. Arrays are contiguous unless a step is given: row t of an input starts at
   inputs[i] + t*input_step[i]. `stream`: the arrays are larger than the caches. */
typedef struct {
    int64_t steps, samples, neurons, threads, stream;
    const int64_t *lengths;                     /* (samples), or NULL: all samples run all steps */
    const real *coefficients[N_COEFFICIENTS];   /* one number, or (neurons) where PER_NEURON */
    const real *inputs[N_INPUTS];               /* (steps, samples, neurons) */
    int64_t input_step[N_INPUTS];
    const real *carry[N_STATES];                /* (samples, neurons); a recurrent net's last output comes last */
    real *outputs[N_OUTPUTS];                   /* (steps, samples, neurons) */
    real *last_carry[N_STATES];                 /* (samples, neurons) */
    real *checkpoints;                          /* kept for the backward pass, or NULL: nothing is kept */
    uint64_t *bits;
#if RECURRENT
    const real *weights;                        /* (neurons after, neurons before) */
    const real *bias;                           /* (neurons), or NULL */
#endif
} neuron_forward_call;

/* The reverse of the call that filled `checkpoints` and `bits`, with the same shape, lengths and inputs. */
typedef struct {
    int64_t steps, samples, neurons, threads, stream;
    const int64_t *lengths;
    const real *coefficients[N_COEFFICIENTS];
    const real *inputs[N_INPUTS];
    int64_t input_step[N_INPUTS];
    const real *checkpoints;
    const uint64_t *bits;
    const real *g_outputs[N_OUTPUTS];           /* cotangents of outputs; NULL: zero */
    int64_t g_output_step[N_OUTPUTS];
    const real *g_last_carry[N_STATES];         /* NULL: zero */
    real *g_inputs[N_INPUTS];                   /* contiguous; NULL: not wanted */
    real *g_carry[N_STATES];
    real *g_coefficients[N_TRAINED];            /* like the coefficients that are trained, in their order */
#if RECURRENT
    const real *weights;
    const real *bias;
    real *g_weights;
    real *g_bias;                               /* NULL: not wanted */
#endif
} neuron_backward_call;
