/* nn/product_body.h: the product (kernels.h) in tiles that live in registers: R rows of NV vectors.
 * The includer defines vec, LANES, tail_t, the v_* operations on them, and for each NV from 1 to
 * NV_MAX how many rows fit. */

/* R and NV are constants wherever this is called, so `sum` becomes registers. Only the last vector
 * may be partial. */
static inline __attribute__((always_inline)) void tile(float *c, const float *a, const float *b,
                                                       const float *bias, bool accumulate,
                                                       const nn_product_t *p, tail_t tail,
                                                       const int R, const int NV)
{
    vec sum[ROWS_MAX][NV_MAX]; /* a constant size, or it would live in memory */
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            const float *from = accumulate ? c + (size_t)r * p->c_row : bias;
            if (!from)
                sum[r][v] = v_zero();
            else if (v + 1 < NV)
                sum[r][v] = v_load(from + v * LANES);
            else
                sum[r][v] = v_load_tail(from + v * LANES, tail);
        }
    }
    const size_t a_row = p->a_row, a_inner = p->a_inner, b_inner = p->b_inner;
    for (size_t q = 0; q < p->outer; q++) {
        const float *aq = a + q * p->a_outer, *bq = b + q * p->b_outer;
        for (size_t k = p->inner; k > 0; k--, aq += a_inner, bq += b_inner) {
            vec w[NV_MAX];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                w[v] = v + 1 < NV ? v_load(bq + v * LANES) : v_load_tail(bq + v * LANES, tail);
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) {
                vec s = v_set1(aq[(size_t)r * a_row]);
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++)
                    sum[r][v] = v_fma(s, w[v], sum[r][v]);
            }
        }
    }
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            float *to = c + (size_t)r * p->c_row + v * LANES;
            if (v + 1 < NV)
                v_store(to, sum[r][v]);
            else
                v_store_tail(to, sum[r][v], tail);
        }
    }
}

#define TILE_CASE(R, NV)                                                                           \
    case R:                                                                                        \
        tile(c, a, b, bias, accumulate, p, tail, R, NV);                                           \
        break;

/* One group of columns: rows in tiles of nearly equal height. */
#define COLUMNS(NV, ROWS, CASES)                                                                   \
    static void columns_##NV(float *c, const float *a, const float *b, const float *bias,          \
                             bool accumulate, const nn_product_t *p, tail_t tail)                  \
    {                                                                                              \
        size_t tiles = (p->rows + ROWS - 1) / ROWS;                                                \
        for (size_t t = 0; t < tiles; t++) {                                                       \
            size_t rows = p->rows / tiles + (t < p->rows % tiles);                                 \
            switch (rows) {                                                                        \
                CASES                                                                              \
            }                                                                                      \
            c += rows * p->c_row;                                                                  \
            a += rows * p->a_row;                                                                  \
        }                                                                                          \
    }
