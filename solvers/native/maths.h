/*: real_tanh real_expm1 */
static inline real real_tanh(real x)
{
    real size = x < 0 ? -x : x;
    real t = real_expm1(-2 * size); /* in (-1, 0] */
    real y = -t / (2 + t);
    return x < 0 ? -y : y;
}

/*: real_sigmoid real_exp */
static inline real real_sigmoid(real x) { return 1 / (1 + real_exp(-x)); }

/*: real_softplus real_exp log1p_unit */
static inline real real_softplus(real x)
{
    real size = x < 0 ? -x : x;
    return (x < 0 ? 0 : x) + log1p_unit(real_exp(-size));
}

/*: real_min */
/* A NaN on either side is the result, as in numpy. */
static inline real real_min(real a, real b) { return a < b || a != a ? a : b; }

/*: real_max */
static inline real real_max(real a, real b) { return a > b || a != a ? a : b; }

/*: real_sign */
static inline real real_sign(real x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

/*: phi */
/* phi_1(z) = (e^z - 1)/z, phi_{j+1}(z) = (phi_j(z) - 1/j!)/z; the series where that would cancel. */
static double phi(int k, double z)
{
    double factorial = 1, value = 0;
    if (fabs(z) < (k == 1 ? 1 : 2)) {
        for (int j = 2; j <= k; j++)
            factorial *= j;
        double term = 1 / factorial;
        for (int j = 1; j <= 24; j++) {
            value += term;
            term *= z / (k + j);
        }
        return value;
    }
    value = expm1(z) / z;
    for (int j = 1; j < k; j++) {
        factorial *= j;
        value = (value - 1 / factorial) / z;
    }
    return value;
}

/*: cphi */
/* phi_k at re + i im; `*imaginary` is its imaginary part, the real part is returned. */
static double cphi(int k, double re, double im, double *imaginary)
{
    double factorial = 1, size = re * re + im * im;
    double u = 0, v = 0;
    if (size < (k == 1 ? 1 : 4)) {
        for (int j = 2; j <= k; j++)
            factorial *= j;
        double a = 1 / factorial, b = 0;
        for (int j = 1; j <= 24; j++) {
            u += a;
            v += b;
            double next = (a * re - b * im) / (k + j);
            b = (a * im + b * re) / (k + j);
            a = next;
        }
        *imaginary = v;
        return u;
    }
    u = exp(re) * cos(im);
    v = exp(re) * sin(im);
    for (int j = 0; j < k; j++) {
        factorial *= j > 1 ? j : 1;
        double a = u - 1 / factorial;
        u = (a * re + v * im) / size;
        v = (v * re - a * im) / size;
    }
    *imaginary = v;
    return u;
}

/*: cphi_re cphi */
static double cphi_re(int k, double re, double im)
{
    double imaginary;
    return cphi(k, re, im, &imaginary);
}

/*: cphi_im cphi */
static double cphi_im(int k, double re, double im)
{
    double imaginary;
    (void)cphi(k, re, im, &imaginary);
    return imaginary;
}

/*: edd */
/* The divided difference of exp at n real nodes: the corner of the exponential of the bidiagonal matrix of the nodes
   and ones. Scaling and squaring keeps its relative accuracy, since all entries of the squares are positive. */
static double edd(int n, const double *nodes)
{
    double a[8][8] = {{0}}, e[8][8] = {{0}}, top = nodes[0], low = nodes[0], scale = 1;
    int squarings = 0;
    for (int i = 1; i < n; i++) {
        top = fmax(top, nodes[i]);
        low = fmin(low, nodes[i]);
    }
    for (; scale * (top - low + 1) > 0.5 && squarings < 60; squarings++)
        scale /= 2;
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            a[i][j] = j == i ? (nodes[i] - top) * scale : j == i + 1 ? scale : 0;
    for (int i = 0; i < n; i++)
        e[i][i] = 1;
    for (int term = 16; term > 0; term--) { /* Horner: e = 1 + a*e/term */
        double p[8][8] = {{0}};
        for (int i = 0; i < n; i++)
            for (int j = i; j < n; j++) {
                for (int m = i; m <= j; m++)
                    p[i][j] += a[i][m] * e[m][j];
                p[i][j] = p[i][j] / term + (i == j);
            }
        memcpy(e, p, sizeof e);
    }
    for (; squarings > 0; squarings--) {
        double p[8][8] = {{0}};
        for (int i = 0; i < n; i++)
            for (int j = i; j < n; j++)
                for (int m = i; m <= j; m++)
                    p[i][j] += e[i][m] * e[m][j];
        memcpy(e, p, sizeof e);
    }
    return exp(top) * e[0][n - 1];
}

/*: pair edd */
/* phi_k(m + j) = C + S j with j*j = d (phi_0 = exp), T = dS/dd, U = dC/dm, V = dS/dm: part 0 to 4 is C, S, T, U, V.
   Functions of 2 x 2 matrices: a series near 0, divided differences at real eigenvalues, the recurrence of phi_k at
   complex ones. U + V j is phi_k' = phi_k - k phi_{k+1}, away from 0 (phi_{k-1} - k phi_k)/z. */
static double pair(int k, int part, double m, double d);

static double pair_slope(int k, int part, double m, double d)
{
    if (k == 0)
        return pair(k, part, m, d);
    if (fmax(fabs(m), sqrt(fabs(d))) < 1)
        return pair(k, part, m, d) - k * pair(k + 1, part, m, d);
    if (d >= 0) {
        const double high = m + sqrt(d), low = m - sqrt(d);
        const double one[8] = {high, high}, other[8] = {low, low}; /* the nodes behind are k zeros */
        const double up[8] = {high, high, low}, down[8] = {high, low, low};
        return part == 0 ? (edd(k + 2, one) + edd(k + 2, other)) / 2 : edd(k + 3, up) + edd(k + 3, down);
    }
    const double p = pair(k - 1, 0, m, d) - k * pair(k, 0, m, d);
    const double q = pair(k - 1, 1, m, d) - k * pair(k, 1, m, d);
    return (part == 0 ? p * m - q * d : q * m - p) / (m * m - d);
}

static double pair(int k, int part, double m, double d)
{
    if (part > 2)
        return pair_slope(k, part - 3, m, d);
    double factorial = 1, C = 0, S = 0, T = 0;
    if (fmax(fabs(m), sqrt(fabs(d))) < 1) {
        double p = 1, q = 0, r = 0, t = 0;
        for (int j = 2; j <= k; j++)
            factorial *= j;
        for (int n = 0; n < 30; n++) {
            C += p / factorial;
            S += q / factorial;
            T += t / factorial;
            const double new_p = m * p + d * q, new_r = m * r + q + d * t;
            q = p + m * q;
            t = r + m * t;
            p = new_p;
            r = new_r;
            factorial *= n + 1 + k;
        }
    } else if (d >= 0) {
        const double high = m + sqrt(d), low = m - sqrt(d);
        const double one[8] = {high}, other[8] = {low}, two[8] = {high, low}, four[8] = {high, high, low, low};
        if (part == 0)
            return (edd(k + 1, one) + edd(k + 1, other)) / 2; /* the nodes behind are k zeros */
        return part == 1 ? edd(k + 2, two) : edd(k + 4, four);
    } else {
        const double w = sqrt(-d), norm = m * m - d;
        C = exp(m) * cos(w);
        S = exp(m) * sin(w) / w;
        for (int n = 13; n > 0; n--) { /* of sinh(sqrt d)/sqrt d: sum n d^(n-1)/(2n+1)! */
            double below = 1;
            for (int j = 2; j <= 2 * n + 1; j++)
                below *= j;
            T = T * d + n / below;
        }
        T = w > 1 ? (C - S) / (2 * d) : exp(m) * T;
        for (int j = 0; j < k; j++) {
            factorial *= j > 1 ? j : 1;
            const double low = C - 1 / factorial, next = (S * m - low) / norm;
            const double slope = j == 0 ? S : S - j * next;
            C = (low * m - S * d) / norm;
            T = (T * m - slope / 2 + next) / norm;
            S = next;
        }
    }
    return part == 0 ? C : part == 1 ? S : T;
}

/*: matrix_exp */
/* The exponential of an n x n matrix: 2^-s of it by its Taylor series, squared s times. */
static void matrix_exp(int n, const double *matrix, double *value)
{
    double norm = 0, scale = 1;
    int squarings = 0;
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < n; j++)
            sum += fabs(matrix[i * n + j]);
        norm = fmax(norm, sum);
    }
    for (; scale * norm > 0.5 && squarings < 1000; squarings++)
        scale /= 2;
    double product[n * n];
    for (int i = 0; i < n * n; i++)
        value[i] = i % (n + 1) == 0;
    for (int round = 16 + squarings; round > 0; round--) { /* first Horner, value = 1 + a*value/term; then squares */
        const int term = round - squarings;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int m = 0; m < n; m++)
                    sum += (term > 0 ? matrix[i * n + m] * scale : value[i * n + m]) * value[m * n + j];
                product[i * n + j] = term > 0 ? sum / term + (i == j) : sum;
            }
        memcpy(value, product, sizeof product);
    }
}
