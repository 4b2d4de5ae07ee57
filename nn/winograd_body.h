/* nn/winograd_body.h: the transforms of Winograd's convolution (winograd.h), over channels, for each
 * instruction set. The includer defines K(name), vec, LANES and the v_* operations.
 *
 * One dimension, six points 0, +-a, +-b, infinity with a = sqrt 1/2, b = sqrt 2: so chosen the error
 * is that of the plain sum. Lavin and Gray 2016 have the matrices' names:
 *         |1          -5/2         1    |         |1   1   1   1   1    |
 *         |   -ab^2   -b^2   a     1    |         |    a  -a   b  -b    |
 *   B^T = |    ab^2   -b^2  -a     1    |   A^T = |    a2  a2  b2  b2   | first m rows,
 *         |   -a^2b   -a^2   b     1    |         |    a3 -a3  b3 -b3   | last one + point 5
 *         |    a^2b   -a^2  -b     1    |
 *         |    1           -5/2        1|   */

#define WINOGRAD_INLINE static inline __attribute__((always_inline))
static const float root_half = 0.70710678f, root_two = 1.41421356f; /* a, b */
static const float cube_half = 0.35355339f, cube_two = 2.82842712f; /* a^3, b^3 */

/* t = B^T d */
WINOGRAD_INLINE void to_points(vec t[6], const vec d[6])
{
    const vec five = v_set1(2.5f), two = v_set1(2.0f), half = v_set1(0.5f);
    vec even = v_fnma(two, d[2], d[4]), odd = v_mul(v_set1(root_half), v_fnma(two, d[1], d[3]));
    t[0] = v_fnma(five, d[2], v_add(d[0], d[4]));
    t[1] = v_add(even, odd);
    t[2] = v_sub(even, odd);
    even = v_fnma(half, d[2], d[4]), odd = v_mul(v_set1(root_two), v_fnma(half, d[1], d[3]));
    t[3] = v_add(even, odd);
    t[4] = v_sub(even, odd);
    t[5] = v_fnma(five, d[3], v_add(d[1], d[5]));
}

/* d = B t */
WINOGRAD_INLINE void from_points(vec d[6], const vec t[6])
{
    const vec five = v_set1(2.5f), a = v_set1(root_half), b = v_set1(root_two);
    vec sum1 = v_add(t[1], t[2]), sum2 = v_add(t[3], t[4]);
    vec difference1 = v_sub(t[1], t[2]), difference2 = v_sub(t[3], t[4]);
    d[0] = t[0];
    d[1] = v_fnma(b, difference1, v_fnma(a, difference2, t[5]));
    d[2] = v_sub(v_zero(), v_fma(five, t[0], v_fma(v_set1(2.0f), sum1, v_mul(v_set1(0.5f), sum2))));
    d[3] = v_fnma(five, t[5], v_fma(a, difference1, v_mul(b, difference2)));
    d[4] = v_add(t[0], v_add(sum1, sum2));
    d[5] = t[5];
}

/* y = A^T t, of m = 2 or 4 */
WINOGRAD_INLINE void to_outputs(vec y[4], const vec t[6], const int m)
{
    const vec a = v_set1(root_half), b = v_set1(root_two);
    vec sum1 = v_add(t[1], t[2]), sum2 = v_add(t[3], t[4]);
    vec difference1 = v_sub(t[1], t[2]), difference2 = v_sub(t[3], t[4]);
    y[0] = v_add(t[0], v_add(sum1, sum2));
    if (m == 2) {
        y[1] = v_fma(a, difference1, v_fma(b, difference2, t[5]));
        return;
    }
    y[1] = v_fma(a, difference1, v_mul(b, difference2));
    y[2] = v_fma(v_set1(0.5f), sum1, v_mul(v_set1(2.0f), sum2));
    y[3] = v_fma(v_set1(cube_half), difference1, v_fma(v_set1(cube_two), difference2, t[5]));
}

/* t = A y */
WINOGRAD_INLINE void from_outputs(vec t[6], const vec y[4], const int m)
{
    const vec a = v_set1(root_half), b = v_set1(root_two);
    vec even1 = y[0], even2 = y[0], odd1 = v_mul(a, y[1]), odd2 = v_mul(b, y[1]);
    if (m == 4) {
        even1 = v_fma(v_set1(0.5f), y[2], even1), even2 = v_fma(v_set1(2.0f), y[2], even2);
        odd1 = v_fma(v_set1(cube_half), y[3], odd1), odd2 = v_fma(v_set1(cube_two), y[3], odd2);
    }
    t[0] = y[0];
    t[1] = v_add(even1, odd1);
    t[2] = v_sub(even1, odd1);
    t[3] = v_add(even2, odd2);
    t[4] = v_sub(even2, odd2);
    t[5] = y[m - 1];
}

/* Columns of the tiles of one row: (columns, 6, LANES) in `columns`. */
static size_t winograd_columns(const nn_winograd_t *p)
{
    return p->across * p->m + 6 - p->m;
}

static void K(winograd_input)(float *v, const float *x, float *columns, const nn_winograd_t *p)
{
    const size_t C = p->C, wide = winograd_columns(p), m = p->m;
    for (size_t c = 0; c < C; c += LANES) {
        for (size_t th = p->first; th < p->end; th++) {
            for (size_t w = 0; w < wide; w++) {
                vec d[6], t[6];
                bool inside = w >= p->pad && w - p->pad < p->W;
#pragma GCC unroll 6
                for (size_t i = 0; i < 6; i++) {
                    size_t h = th * m + i;
                    bool in = inside && h >= p->pad && h - p->pad < p->H;
                    d[i] = in ? v_load(x + ((h - p->pad) * p->W + w - p->pad) * C + c) : v_zero();
                }
                to_points(t, d);
#pragma GCC unroll 6
                for (size_t i = 0; i < 6; i++)
                    v_store(columns + (w * 6 + i) * LANES, t[i]);
            }
            float *to = v + (th - p->first) * p->across * C + c;
            for (size_t tw = 0; tw < p->across; tw++, to += C) {
                const float *from = columns + tw * m * 6 * LANES;
                for (size_t i = 0; i < 6; i++) {
                    vec d[6], t[6];
#pragma GCC unroll 6
                    for (size_t j = 0; j < 6; j++)
                        d[j] = v_load(from + (j * 6 + i) * LANES);
                    to_points(t, d);
#pragma GCC unroll 6
                    for (size_t j = 0; j < 6; j++)
                        v_store(to + (i * 6 + j) * p->plane_c, t[j]);
                }
            }
        }
    }
}

static void K(winograd_input_back)(float *dx, const float *dv, float *columns,
                                   const nn_winograd_t *p)
{
    const size_t C = p->C, wide = winograd_columns(p), m = p->m;
    for (size_t c = 0; c < C; c += LANES) {
        for (size_t th = p->first; th < p->end; th++) {
            memset(columns, 0, wide * 6 * LANES * sizeof *columns);
            const float *from = dv + (th - p->first) * p->across * C + c;
            for (size_t tw = 0; tw < p->across; tw++, from += C) {
                float *to = columns + tw * m * 6 * LANES;
                for (size_t i = 0; i < 6; i++) {
                    vec d[6], t[6];
#pragma GCC unroll 6
                    for (size_t j = 0; j < 6; j++)
                        t[j] = v_load(from + (i * 6 + j) * p->plane_c);
                    from_points(d, t);
#pragma GCC unroll 6
                    for (size_t j = 0; j < 6; j++) {
                        float *at = to + (j * 6 + i) * LANES;
                        v_store(at, v_add(v_load(at), d[j]));
                    }
                }
            }
            for (size_t w = p->pad; w < wide && w - p->pad < p->W; w++) {
                vec d[6], t[6];
#pragma GCC unroll 6
                for (size_t i = 0; i < 6; i++)
                    t[i] = v_load(columns + (w * 6 + i) * LANES);
                from_points(d, t);
#pragma GCC unroll 6
                for (size_t i = 0; i < 6; i++) {
                    size_t h = th * m + i;
                    if (h < p->pad || h - p->pad >= p->H)
                        continue;
                    float *at = dx + ((h - p->pad) * p->W + w - p->pad) * C + c;
                    v_store(at, v_add(v_load(at), d[i]));
                }
            }
        }
    }
}

WINOGRAD_INLINE void outputs_of(float *y, const float *products, const float *bias,
                                const nn_winograd_t *p, const int m)
{
    const size_t O = p->O, step = (size_t)m;
    for (size_t th = p->first; th < p->end; th++) {
        for (size_t tw = 0; tw < p->across; tw++, products += O) {
            float *to = y + (th * step * p->Q + tw * step) * O;
            for (size_t o = 0; o < O; o += LANES) {
                vec half[6][4];
#pragma GCC unroll 6
                for (size_t j = 0; j < 6; j++) {
                    vec t[6];
#pragma GCC unroll 6
                    for (size_t i = 0; i < 6; i++)
                        t[i] = v_load(products + (i * 6 + j) * p->plane_o + o);
                    to_outputs(half[j], t, m);
                }
                const vec start = bias ? v_load(bias + o) : v_zero();
#pragma GCC unroll 4
                for (size_t i = 0; i < step; i++) {
                    vec t[6], out[4];
#pragma GCC unroll 6
                    for (size_t j = 0; j < 6; j++)
                        t[j] = half[j][i];
                    to_outputs(out, t, m);
#pragma GCC unroll 4
                    for (size_t j = 0; j < step; j++)
                        if (th * step + i < p->P && tw * step + j < p->Q)
                            v_store(to + (i * p->Q + j) * O + o, v_add(out[j], start));
                }
            }
        }
    }
}

static void K(winograd_output)(float *y, const float *products, const float *bias,
                               const nn_winograd_t *p)
{
    if (p->m == 2)
        outputs_of(y, products, bias, p, 2);
    else
        outputs_of(y, products, bias, p, 4);
}

WINOGRAD_INLINE void outputs_back(float *dm, const float *dy, const nn_winograd_t *p, const int m)
{
    const size_t O = p->O, step = (size_t)m;
    for (size_t th = p->first; th < p->end; th++) {
        for (size_t tw = 0; tw < p->across; tw++, dm += O) {
            const float *from = dy + (th * step * p->Q + tw * step) * O;
            for (size_t o = 0; o < O; o += LANES) {
                vec half[4][6];
#pragma GCC unroll 4
                for (size_t j = 0; j < step; j++) {
                    vec y[4];
#pragma GCC unroll 4
                    for (size_t i = 0; i < step; i++) {
                        bool in = th * step + i < p->P && tw * step + j < p->Q;
                        y[i] = in ? v_load(from + (i * p->Q + j) * O + o) : v_zero();
                    }
                    from_outputs(half[j], y, m);
                }
#pragma GCC unroll 6
                for (size_t i = 0; i < 6; i++) {
                    vec y[4], t[6];
#pragma GCC unroll 4
                    for (size_t j = 0; j < step; j++)
                        y[j] = half[j][i];
                    from_outputs(t, y, m);
#pragma GCC unroll 6
                    for (size_t j = 0; j < 6; j++)
                        v_store(dm + (i * 6 + j) * p->plane_o + o, t[j]);
                }
            }
        }
    }
}

static void K(winograd_output_back)(float *dm, const float *dy, const nn_winograd_t *p)
{
    if (p->m == 2)
        outputs_back(dm, dy, p, 2);
    else
        outputs_back(dm, dy, p, 4);
}
