#include "nn/winograd.h"

#include <string.h>

/* A slice of tile rows is worked on at a time, so that its points stay in the cache: about so many
 * tiles. LANES_MAX: the widest vector of any level; widths that it divides need no remainders. */
enum { SLICE_TILES = 32, LANES_MAX = 16, POINTS = NN_WINOGRAD_POINTS };

static size_t side(const nn_conv2d_t *d)
{
    return 7 - d->kernel; /* outputs of a tile, each way */
}

static size_t tiles_of(const nn_conv2d_t *d, size_t outputs)
{
    return (outputs + side(d) - 1) / side(d);
}

bool nn_winograd_suits(const nn_conv2d_t *d)
{
    if (d->groups != 1 || d->stride != 1 || (d->kernel != 3 && d->kernel != 5) ||
        d->C % LANES_MAX || d->O % LANES_MAX)
        return false;
    size_t products = POINTS * tiles_of(d, d->P) * tiles_of(d, d->Q);
    return products * 5 <= d->P * d->Q * d->kernel * d->kernel * 3;
}

/* How the work is cut: small pictures several together, large ones by tile rows. */
typedef struct {
    nn_winograd_t p;
    size_t pictures, rows; /* of a slice, at most; one of them is all or 1 */
    size_t points;         /* floats before dm, and those of the outputs before columns */
    size_t points_o;
} slices_t;

static slices_t slices_of(const nn_conv2d_t *d)
{
    size_t across = tiles_of(d, d->Q), down = tiles_of(d, d->P);
    size_t wanted = SLICE_TILES > across ? SLICE_TILES / across : 1;
    size_t slices = (down + wanted - 1) / wanted;
    slices_t s = {.rows = (down + slices - 1) / slices, .pictures = nn_winograd_pictures(d)};
    size_t tiles = s.pictures * s.rows * across;
    /* A cache line more: planes must not share cache sets. */
    s.p = (nn_winograd_t){.H = d->H,
                          .W = d->W,
                          .C = d->C,
                          .P = d->P,
                          .Q = d->Q,
                          .O = d->O,
                          .pad = d->pad,
                          .m = side(d),
                          .across = across,
                          .plane_c = tiles * d->C + LANES_MAX,
                          .plane_o = tiles * d->O + LANES_MAX};
    s.points = POINTS * s.p.plane_c;
    s.points_o = POINTS * s.p.plane_o;
    return s;
}

size_t nn_winograd_pictures(const nn_conv2d_t *d)
{
    size_t tiles = tiles_of(d, d->P) * tiles_of(d, d->Q);
    return tiles < SLICE_TILES ? SLICE_TILES / tiles : 1;
}

size_t nn_winograd_scratch(const nn_conv2d_t *d)
{
    slices_t s = slices_of(d);
    return s.points + s.points_o + (s.p.across * s.p.m + 6 - s.p.m) * 6 * LANES_MAX;
}

/* G: where a kernel of K numbers has its six points; as B and A in winograd_body.h. */
static void kernel_points(float g[6][5], size_t K)
{
    static const double point[5] = {0, 0.70710678118654752, -0.70710678118654752,
                                    1.41421356237309505, -1.41421356237309505};
    static const double factor[5] = {1, -2.0 / 3, -2.0 / 3, 1.0 / 6, 1.0 / 6};
    memset(g, 0, 6 * sizeof g[0]);
    for (size_t i = 0; i < 5; i++) {
        double power = factor[i];
        for (size_t k = 0; k < K; k++, power *= point[i])
            g[i][k] = (float)power;
    }
    g[5][K - 1] = 1;
}

/* to (16) = sum over k < count of factors[k * factor_step] * rows[k * row_step] (16) */
static inline void combine(float *restrict to, const float *factors, size_t factor_step,
                           const float *rows, size_t row_step, size_t count)
{
    float sum[LANES_MAX] = {0};
    for (size_t k = 0; k < count; k++)
        for (size_t n = 0; n < LANES_MAX; n++)
            sum[n] += factors[k * factor_step] * rows[k * row_step * LANES_MAX + n];
    memcpy(to, sum, sizeof sum);
}

/* out (36,R,S) = G w G^T, the kernel of row r and column s being at w[r * w_row + s * w_column]. */
static void pack(float *out, const float *w, size_t R, size_t S, size_t w_row, size_t w_column,
                 size_t K)
{
    float g[6][5], cells[25][LANES_MAX], half[6][5][LANES_MAX];
    kernel_points(g, K);
    for (size_t at = 0; at < R * S; at += LANES_MAX) {
        const float *from = w + at / S * w_row + at % S * w_column;
        for (size_t n = 0; n < LANES_MAX; n++)
            for (size_t k = 0; k < K * K; k++)
                cells[k][n] = from[n * w_column + k];
        for (size_t i = 0; i < 6; i++)
            for (size_t j = 0; j < K; j++)
                combine(half[i][j], g[i], 1, cells[j], K, K);
        for (size_t i = 0; i < POINTS; i++)
            combine(out + i * R * S + at, g[i % 6], 1, half[i / 6][0], 1, K);
    }
}

void nn_winograd_pack(float *packed, float *turned, const float *w, const nn_conv2d_t *d)
{
    const size_t cells = d->kernel * d->kernel;
    pack(packed, w, d->C, d->O, cells, d->C * cells, d->kernel);
    if (turned)
        pack(turned, w, d->O, d->C, d->C * cells, cells, d->kernel);
}

/* w = G^T packed G */
void nn_winograd_unpack(float *w, const float *packed, const nn_conv2d_t *d)
{
    const size_t K = d->kernel, C = d->C, O = d->O;
    float g[6][5], points[POINTS][LANES_MAX], half[5][6][LANES_MAX], cell[LANES_MAX];
    kernel_points(g, K);
    for (size_t at = 0; at < C * O; at += LANES_MAX) {
        float *to = w + (at % O * C + at / O) * K * K;
        for (size_t i = 0; i < POINTS; i++)
            memcpy(points[i], packed + i * C * O + at, sizeof points[i]);
        for (size_t k = 0; k < K; k++)
            for (size_t j = 0; j < 6; j++)
                combine(half[k][j], g[0] + k, 5, points[j], 6, 6);
        for (size_t k = 0; k < K * K; k++) {
            combine(cell, g[0] + k % K, 5, half[k / K][0], 1, 6);
            for (size_t n = 0; n < LANES_MAX; n++)
                to[n * C * K * K + k] = cell[n];
        }
    }
}

/* c (36 planes of rows,cols) = a b at each point. */
static void products(float *c, size_t c_plane, const float *a, size_t a_plane, const float *b,
                     size_t b_plane, bool accumulate, const nn_product_t *p, const nn_kernels_t *k)
{
    for (size_t i = 0; i < POINTS; i++)
        k->product(c + i * c_plane, a + i * a_plane, b + i * b_plane, NULL, accumulate, p);
}

/* Tile rows from p->end on; false when there are none left. */
static bool next_rows(nn_winograd_t *p, const slices_t *s, const nn_conv2d_t *d)
{
    size_t down = tiles_of(d, d->P);
    p->first = p->end;
    p->end = p->first + s->rows < down ? p->first + s->rows : down;
    return p->first < down;
}

static void forward_slice(float *y, const float *x, const float *packed, const float *b,
                          const nn_conv2d_t *d, size_t n, const slices_t *s, float *scratch,
                          const nn_kernels_t *k)
{
    const nn_winograd_t *p = &s->p;
    const size_t tiles = (p->end - p->first) * p->across;
    float *v = scratch, *m = v + s->points, *columns = m + s->points_o;
    nn_product_t product = nn_product_dense(n * tiles, d->C, d->O);
    for (size_t i = 0; i < n; i++)
        k->winograd_input(v + i * tiles * d->C, x + i * d->H * d->W * d->C, columns, p);
    products(m, p->plane_o, v, p->plane_c, packed, d->C * d->O, false, &product, k);
    for (size_t i = 0; i < n; i++)
        k->winograd_output(y + i * d->P * d->Q * d->O, m + i * tiles * d->O, b, p);
}

void nn_winograd_forward(float *y, const float *x, const float *packed, const float *b,
                         const nn_conv2d_t *d, size_t n, float *scratch, const nn_kernels_t *k)
{
    slices_t s = slices_of(d);
    for (size_t i = 0; i < n; i += s.pictures) {
        size_t count = n - i < s.pictures ? n - i : s.pictures;
        for (s.p.end = 0; next_rows(&s.p, &s, d);)
            forward_slice(y + i * d->P * d->Q * d->O, x + i * d->H * d->W * d->C, packed, b, d,
                          count, &s, scratch, k);
    }
}

static void backward_slice(float *dx, float *dpacked, const float *x, const float *dy,
                           const float *turned, const nn_conv2d_t *d, size_t n, const slices_t *s,
                           float *scratch, const nn_kernels_t *k)
{
    const nn_winograd_t *p = &s->p;
    const size_t tiles = (p->end - p->first) * p->across, in = d->H * d->W * d->C;
    float *v = scratch, *dm = v + s->points, *columns = dm + s->points_o;
    nn_product_t weight = nn_product_transposed(d->C, n * tiles, d->O);
    nn_product_t input = nn_product_dense(n * tiles, d->O, d->C);
    for (size_t i = 0; i < n; i++) {
        k->winograd_input(v + i * tiles * d->C, x + i * in, columns, p);
        k->winograd_output_back(dm + i * tiles * d->O, dy + i * d->P * d->Q * d->O, p);
    }
    products(dpacked, d->C * d->O, v, p->plane_c, dm, p->plane_o, true, &weight, k);
    if (!dx)
        return;
    products(v, p->plane_c, dm, p->plane_o, turned, d->C * d->O, false, &input, k);
    for (size_t i = 0; i < n; i++)
        k->winograd_input_back(dx + i * in, v + i * tiles * d->C, columns, p);
}

void nn_winograd_backward(float *dx, float *dpacked, const float *x, const float *dy,
                          const float *turned, const nn_conv2d_t *d, size_t n, float *scratch,
                          const nn_kernels_t *k)
{
    slices_t s = slices_of(d);
    const size_t in = d->H * d->W * d->C;
    if (dx)
        memset(dx, 0, n * in * sizeof *dx);
    for (size_t i = 0; i < n; i += s.pictures) {
        size_t count = n - i < s.pictures ? n - i : s.pictures;
        for (s.p.end = 0; next_rows(&s.p, &s, d);)
            backward_slice(dx ? dx + i * in : NULL, dpacked, x + i * in,
                           dy + i * d->P * d->Q * d->O, turned, d, count, &s, scratch, k);
    }
}
