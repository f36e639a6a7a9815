/* Functions of one number that vectorise; errors of 1 to 2 units in the last place. */
/*: split_exp */
/* x = k*log(2) + *rest, |*rest| <= log(2)/2, for |x| below 2^22; returns k. A NaN stays in *rest. */
static inline int32_t split_exp(float x, float *rest)
{
    const float shift = 12582912.f; /* 1.5*2^23: adding it rounds to a whole number, held in the low bits */
    float shifted = x * 1.44269504f + shift;
    float k = shifted - shift;
    int32_t bits, zero;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&zero, &shift, sizeof zero);
    *rest = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    return bits - zero;
}

/*: power_of_two */
/* 2^k for -126 <= k <= 127, and 0 for k = -127. */
static inline float power_of_two(int32_t k)
{
    int32_t bits = (int32_t)((uint32_t)(k + 127) << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/*: real_exp split_exp power_of_two */
/* Results below 1.7e-38 are 0. */
static inline float real_exp(float x)
{
    x = x > 89.f ? 89.f : x;
    x = x < -87.3f ? -87.3f : x;
    float r;
    int32_t k = split_exp(x, &r); /* -126 to 128 */
    float p = 1.f / 720 + r * (1.f / 5040);
    p = 1.f / 120 + r * p;
    p = 1.f / 24 + r * p;
    p = 1.f / 6 + r * p;
    p = 0.5f + r * p;
    p = 1.f + (r + r * r * p);
    return (p + p) * power_of_two(k - 1);
}

/*: real_expm1 split_exp power_of_two */
static inline float real_expm1(float x)
{
    float y = x > 89.f ? 89.f : x;
    y = y < -20.f ? -20.f : y;
    float r;
    int32_t k = split_exp(y, &r);
    float p = 1.f / 720 + r * (1.f / 5040);
    p = 1.f / 120 + r * p;
    p = 1.f / 24 + r * p;
    p = 1.f / 6 + r * p;
    p = 0.5f + r * p;
    p = r + r * r * p;
    float one = power_of_two(k < 126 ? -k : -126); /* 1 in units of 2^k */
    p = p + (1.f - one);
    float value = (p + p) * power_of_two(k - 1);
    return x == 0.f ? x : value;
}

/*: log1p_unit */
/* log(1 + y) for 0 <= y <= 1, as 2 artanh(y/(2 + y)). */
static inline float log1p_unit(float y)
{
    float s = y / (2.f + y), q = s * s;
    float p = 1.f / 13 + q * (1.f / 15);
    p = 1.f / 11 + q * p;
    p = 1.f / 9 + q * p;
    p = 1.f / 7 + q * p;
    p = 1.f / 5 + q * p;
    p = 1.f / 3 + q * p;
    return 2.f * (s + s * q * p);
}
