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

/* A plane of points (tiles,C), with a cache line more: planes must not share cache sets. */
static nn_winograd_t slice_of(const nn_conv2d_t *d, size_t *rows)
{
    size_t across = tiles_of(d, d->Q), down = tiles_of(d, d->P);
    size_t wanted = SLICE_TILES > across ? SLICE_TILES / across : 1;
    size_t slices = (down + wanted - 1) / wanted;
    *rows = (down + slices - 1) / slices;
    return (nn_winograd_t){.H = d->H,
                           .W = d->W,
                           .C = d->C,
                           .P = d->P,
                           .Q = d->Q,
                           .O = d->O,
                           .pad = d->pad,
                           .m = side(d),
                           .across = across,
                           .plane_c = *rows * across * d->C + LANES_MAX,
                           .plane_o = *rows * across * d->O + LANES_MAX};
}

size_t nn_winograd_scratch(const nn_conv2d_t *d)
{
    size_t rows;
    nn_winograd_t p = slice_of(d, &rows);
    size_t columns = (p.across * p.m + 6 - p.m) * 6 * LANES_MAX;
    return POINTS * (p.plane_c + p.plane_o) + columns;
}

/* G: where a kernel of K numbers has its six points; as B and A in winograd_body.h. */
static void kernel_points(double g[6][5], size_t K)
{
    static const double point[5] = {0, 0.70710678118654752, -0.70710678118654752,
                                    1.41421356237309505, -1.41421356237309505};
    static const double factor[5] = {1, -2.0 / 3, -2.0 / 3, 1.0 / 6, 1.0 / 6};
    memset(g, 0, 6 * sizeof g[0]);
    for (size_t i = 0; i < 5; i++) {
        double power = factor[i];
        for (size_t k = 0; k < K; k++, power *= point[i])
            g[i][k] = power;
    }
    g[5][K - 1] = 1;
}

/* out (36,R,S) = G w G^T, the kernel of row r and column s being at w[r * w_row + s * w_column]. */
static void pack(float *out, const float *w, size_t R, size_t S, size_t w_row, size_t w_column,
                 size_t K)
{
    double g[6][5];
    float wide[POINTS][25]; /* G (x) G */
    kernel_points(g, K);
    for (size_t i = 0; i < POINTS; i++)
        for (size_t k = 0; k < K * K; k++)
            wide[i][k] = (float)(g[i / 6][k / K] * g[i % 6][k % K]);
    for (size_t r = 0; r < R; r++) {
        for (size_t s = 0; s < S; s += LANES_MAX) {
            float cells[25][LANES_MAX];
            for (size_t n = 0; n < LANES_MAX; n++)
                for (size_t k = 0; k < K * K; k++)
                    cells[k][n] = w[r * w_row + (s + n) * w_column + k];
            for (size_t i = 0; i < POINTS; i++) {
                float sum[LANES_MAX] = {0};
                for (size_t k = 0; k < K * K; k++)
                    for (size_t n = 0; n < LANES_MAX; n++)
                        sum[n] += wide[i][k] * cells[k][n];
                memcpy(out + (i * R + r) * S + s, sum, sizeof sum);
            }
        }
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
    double g[6][5];
    float wide[25][POINTS];
    kernel_points(g, K);
    for (size_t i = 0; i < POINTS; i++)
        for (size_t k = 0; k < K * K; k++)
            wide[k][i] = (float)(g[i / 6][k / K] * g[i % 6][k % K]);
    for (size_t c = 0; c < C; c++) {
        for (size_t o = 0; o < O; o += LANES_MAX) {
            float sum[25][LANES_MAX] = {{0}};
            for (size_t i = 0; i < POINTS; i++) {
                const float *from = packed + (i * C + c) * O + o;
                for (size_t k = 0; k < K * K; k++)
                    for (size_t n = 0; n < LANES_MAX; n++)
                        sum[k][n] += wide[k][i] * from[n];
            }
            for (size_t n = 0; n < LANES_MAX; n++)
                for (size_t k = 0; k < K * K; k++)
                    w[((o + n) * C + c) * K * K + k] = sum[k][n];
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

/* The next slice, false behind the last. */
static bool next_slice(nn_winograd_t *p, size_t rows, const nn_conv2d_t *d)
{
    size_t down = tiles_of(d, d->P);
    p->first = p->end;
    p->end = p->first + rows < down ? p->first + rows : down;
    return p->first < down;
}

void nn_winograd_forward(float *y, const float *x, const float *packed, const float *b,
                         const nn_conv2d_t *d, float *scratch, const nn_kernels_t *k)
{
    size_t rows;
    nn_winograd_t p = slice_of(d, &rows);
    float *v = scratch, *m = v + POINTS * p.plane_c, *columns = m + POINTS * p.plane_o;
    while (next_slice(&p, rows, d)) {
        nn_product_t product = {.rows = (p.end - p.first) * p.across,
                                .cols = d->O,
                                .outer = 1,
                                .inner = d->C,
                                .a_row = d->C,
                                .a_inner = 1,
                                .b_inner = d->O,
                                .c_row = d->O};
        k->winograd_input(v, x, columns, &p);
        products(m, p.plane_o, v, p.plane_c, packed, d->C * d->O, false, &product, k);
        k->winograd_output(y, m, b, &p);
    }
}

void nn_winograd_backward_weight(float *dpacked, const float *x, const float *dy,
                                 const nn_conv2d_t *d, float *scratch, const nn_kernels_t *k)
{
    size_t rows;
    nn_winograd_t p = slice_of(d, &rows);
    float *v = scratch, *dm = v + POINTS * p.plane_c, *columns = dm + POINTS * p.plane_o;
    while (next_slice(&p, rows, d)) {
        nn_product_t product = {.rows = d->C,
                                .cols = d->O,
                                .outer = 1,
                                .inner = (p.end - p.first) * p.across,
                                .a_row = 1,
                                .a_inner = d->C,
                                .b_inner = d->O,
                                .c_row = d->O};
        k->winograd_input(v, x, columns, &p);
        k->winograd_output_back(dm, dy, &p);
        products(dpacked, d->C * d->O, v, p.plane_c, dm, p.plane_o, true, &product, k);
    }
}

void nn_winograd_backward_input(float *dx, const float *dy, const float *turned,
                                const nn_conv2d_t *d, float *scratch, const nn_kernels_t *k)
{
    size_t rows;
    nn_winograd_t p = slice_of(d, &rows);
    float *dv = scratch, *dm = dv + POINTS * p.plane_c, *columns = dm + POINTS * p.plane_o;
    memset(dx, 0, d->H * d->W * d->C * sizeof *dx);
    while (next_slice(&p, rows, d)) {
        nn_product_t product = {.rows = (p.end - p.first) * p.across,
                                .cols = d->C,
                                .outer = 1,
                                .inner = d->O,
                                .a_row = d->O,
                                .a_inner = 1,
                                .b_inner = d->C,
                                .c_row = d->C};
        k->winograd_output_back(dm, dy, &p);
        products(dv, p.plane_c, dm, p.plane_o, turned, d->C * d->O, false, &product, k);
        k->winograd_input_back(dx, dv, columns, &p);
    }
}
