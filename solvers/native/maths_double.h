/* Functions of one number that vectorise; errors of at most 2 units in the last place. */
/*: split_exp */
/* x = k*log(2) + *rest, |*rest| <= log(2)/2, for |x| below 2^20; returns k. A NaN stays in *rest. */
static inline int64_t split_exp(double x, double *rest)
{
    const double shift = 6755399441055744.; /* 1.5*2^52: adding it rounds to a whole number, held in the low bits */
    double shifted = x * 1.4426950408889634 + shift;
    double k = shifted - shift;
    int64_t bits, zero;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&zero, &shift, sizeof zero);
    *rest = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
    return bits - zero;
}

/*: power_of_two */
/* 2^k for -1022 <= k <= 1023, and 0 for k = -1023. */
static inline double power_of_two(int64_t k)
{
    int64_t bits = (int64_t)((uint64_t)(k + 1023) << 52);
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/*: exp_series */
/* (e^r - 1 - r)/r^2 for |r| <= log(2)/2. */
static inline double exp_series(double r)
{
    double p = 1. / 479001600 + r * (1. / 6227020800.);
    p = 1. / 39916800 + r * p;
    p = 1. / 3628800 + r * p;
    p = 1. / 362880 + r * p;
    p = 1. / 40320 + r * p;
    p = 1. / 5040 + r * p;
    p = 1. / 720 + r * p;
    p = 1. / 120 + r * p;
    p = 1. / 24 + r * p;
    p = 1. / 6 + r * p;
    return 0.5 + r * p;
}

/*: real_exp split_exp power_of_two exp_series */
/* Results below 3.2e-308 are 0. */
static inline double real_exp(double x)
{
    x = x > 710. ? 710. : x;
    x = x < -708.3 ? -708.3 : x;
    double r;
    int64_t k = split_exp(x, &r); /* -1022 to 1024 */
    double p = 1. + (r + r * r * exp_series(r));
    return (p + p) * power_of_two(k - 1);
}

/*: real_expm1 split_exp power_of_two exp_series */
static inline double real_expm1(double x)
{
    double y = x > 710. ? 710. : x;
    y = y < -40. ? -40. : y;
    double r;
    int64_t k = split_exp(y, &r);
    double p = r + r * r * exp_series(r);
    double one = power_of_two(k < 1022 ? -k : -1022); /* 1 in units of 2^k */
    p = p + (1. - one);
    double value = (p + p) * power_of_two(k - 1);
    return x == 0. ? x : value;
}

/*: log1p_unit */
/* log(1 + y) for 0 <= y <= 1, as 2 artanh(y/(2 + y)). */
static inline double log1p_unit(double y)
{
    double s = y / (2. + y), q = s * s, p = 1. / 35;
    p = 1. / 33 + q * p;
    p = 1. / 31 + q * p;
    p = 1. / 29 + q * p;
    p = 1. / 27 + q * p;
    p = 1. / 25 + q * p;
    p = 1. / 23 + q * p;
    p = 1. / 21 + q * p;
    p = 1. / 19 + q * p;
    p = 1. / 17 + q * p;
    p = 1. / 15 + q * p;
    p = 1. / 13 + q * p;
    p = 1. / 11 + q * p;
    p = 1. / 9 + q * p;
    p = 1. / 7 + q * p;
    p = 1. / 5 + q * p;
    p = 1. / 3 + q * p;
    return 2. * (s + s * q * p);
}
