/* nn/product_body.h: the product (kernels.h) in tiles that live in registers: R rows of NV vectors.
 * The includer defines vec, LANES, tail_t, the v_* operations on them, NV_MAX, and for each NV from
 * 1 to NV_MAX how many rows fit: TILE_ROWS(NV), at most ROWS_MAX. */

/* R, NV and PARTIAL are constants wherever this is called, so `sum` becomes registers. PARTIAL: the
 * last vector is cut by `tail` (masked stores are slow on some CPUs, so whole vectors do without).
 * What c holds is added last: it need not be near. */
static inline __attribute__((always_inline)) void tile(float *c, const float *a, const float *b,
                                                       const float *bias, bool accumulate,
                                                       const nn_product_t *p, tail_t tail,
                                                       const int R, const int NV,
                                                       const bool PARTIAL)
{
    vec sum[ROWS_MAX][NV_MAX]; /* a constant size, or it would live in memory */
    const size_t a_row = p->a_row, a_inner = p->a_inner, b_inner = p->b_inner, c_row = p->c_row;
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            sum[r][v] = v_zero();
    }
    for (size_t q = 0; q < p->outer; q++) {
        const float *aq = a + q * p->a_outer, *bq = b + q * p->b_outer;
        for (size_t k = p->inner; k > 0; k--, aq += a_inner, bq += b_inner) {
            vec w[NV_MAX];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                w[v] = PARTIAL && v + 1 == NV ? v_load_tail(bq + v * LANES, tail)
                                              : v_load(bq + v * LANES);
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) {
                vec s = v_set1(aq[(size_t)r * a_row]);
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++)
                    sum[r][v] = v_fma(s, w[v], sum[r][v]);
            }
        }
    }
    const float *from = accumulate ? c : bias;
    if (from) {
        const size_t step = accumulate ? c_row : 0;
#pragma GCC unroll 32
        for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                const float *at = from + (size_t)r * step + v * LANES;
                sum[r][v] =
                    v_add(sum[r][v], PARTIAL && v + 1 == NV ? v_load_tail(at, tail) : v_load(at));
            }
        }
    }
    if (p->clamp) {
        const vec low = v_set1(p->low), high = v_set1(p->high);
#pragma GCC unroll 32
        for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) /* in this order NaN goes through */
                sum[r][v] = v_min(high, v_max(low, sum[r][v]));
        }
    }
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            float *to = c + (size_t)r * c_row + v * LANES;
            if (PARTIAL && v + 1 == NV)
                v_store_tail(to, sum[r][v], tail);
            else
                v_store(to, sum[r][v]);
        }
    }
}

#define TILE_CASE(R, NV, PARTIAL)                                                                  \
    case R:                                                                                        \
        if (R <= TILE_ROWS(NV))                                                                    \
            tile(c, a, b, bias, accumulate, p, tail, R <= TILE_ROWS(NV) ? R : 1, NV, PARTIAL);     \
        break;

/* One group of columns: rows in tiles of nearly equal height. */
#define COLUMNS(NAME, NV, PARTIAL)                                                                 \
    static void NAME(float *c, const float *a, const float *b, const float *bias, bool accumulate, \
                     const nn_product_t *p, tail_t tail)                                           \
    {                                                                                              \
        size_t tiles = (p->rows + TILE_ROWS(NV) - 1) / TILE_ROWS(NV);                              \
        size_t height = tiles ? p->rows / tiles : 0, higher = tiles ? p->rows % tiles : 0;         \
        for (size_t t = 0; t < tiles; t++) {                                                       \
            size_t rows = height + (t < higher);                                                   \
            switch (rows) {                                                                        \
                TILE_CASE(1, NV, PARTIAL)                                                          \
                TILE_CASE(2, NV, PARTIAL)                                                          \
                TILE_CASE(3, NV, PARTIAL)                                                          \
                TILE_CASE(4, NV, PARTIAL)                                                          \
                TILE_CASE(5, NV, PARTIAL)                                                          \
                TILE_CASE(6, NV, PARTIAL)                                                          \
                TILE_CASE(7, NV, PARTIAL)                                                          \
                TILE_CASE(8, NV, PARTIAL)                                                          \
                TILE_CASE(9, NV, PARTIAL)                                                          \
                TILE_CASE(10, NV, PARTIAL)                                                         \
                TILE_CASE(11, NV, PARTIAL)                                                         \
                TILE_CASE(12, NV, PARTIAL)                                                         \
                TILE_CASE(13, NV, PARTIAL)                                                         \
                TILE_CASE(14, NV, PARTIAL)                                                         \
                TILE_CASE(15, NV, PARTIAL)                                                         \
                TILE_CASE(16, NV, PARTIAL)                                                         \
            }                                                                                      \
            c += rows * p->c_row;                                                                  \
            a += rows * p->a_row;                                                                  \
        }                                                                                          \
    }

/* One or two rows of many columns: nothing is used more than twice, so b is what costs, and wide
 * stretches of it are read in order. Whole vectors only. */
enum { FEW_ROWS = 2, FEW_VECTORS = 6 };

static inline __attribute__((always_inline)) void few_tile(float *c, const float *a, const float *b,
                                                           const float *bias, bool accumulate,
                                                           const nn_product_t *p, const int R)
{
    vec sum[FEW_ROWS][FEW_VECTORS];
#pragma GCC unroll 2
    for (int r = 0; r < R; r++) {
        const float *from = accumulate ? c + (size_t)r * p->c_row : bias;
#pragma GCC unroll 6
        for (int v = 0; v < FEW_VECTORS; v++)
            sum[r][v] = from ? v_load(from + v * LANES) : v_zero();
    }
    for (size_t q = 0; q < p->outer; q++) {
        const float *aq = a + q * p->a_outer, *bq = b + q * p->b_outer;
        for (size_t k = p->inner; k > 0; k--, aq += p->a_inner, bq += p->b_inner) {
#pragma GCC unroll 2
            for (int r = 0; r < R; r++) {
                vec s = v_set1(aq[(size_t)r * p->a_row]);
#pragma GCC unroll 6
                for (int v = 0; v < FEW_VECTORS; v++)
                    sum[r][v] = v_fma(s, v_load(bq + v * LANES), sum[r][v]);
            }
        }
    }
    const vec low = v_set1(p->low), high = v_set1(p->high);
#pragma GCC unroll 2
    for (int r = 0; r < R; r++)
#pragma GCC unroll 6
        for (int v = 0; v < FEW_VECTORS; v++)
            v_store(c + (size_t)r * p->c_row + v * LANES,
                    p->clamp ? v_min(high, v_max(low, sum[r][v])) : sum[r][v]);
}

static void few_columns(float *c, const float *a, const float *b, const float *bias,
                        bool accumulate, const nn_product_t *p)
{
    if (p->rows == 1)
        few_tile(c, a, b, bias, accumulate, p, 1);
    else
        few_tile(c, a, b, bias, accumulate, p, 2);
}

typedef void columns_t(float *c, const float *a, const float *b, const float *bias, bool accumulate,
                       const nn_product_t *p, tail_t tail);

COLUMNS(columns_1, 1, false)
COLUMNS(columns_2, 2, false)
COLUMNS(columns_3, 3, false)
COLUMNS(partial_1, 1, true)
COLUMNS(partial_2, 2, true)
COLUMNS(partial_3, 3, true)
#if HAS_4_VECTORS
COLUMNS(columns_4, 4, false)
COLUMNS(partial_4, 4, true)
static columns_t *const columns_whole[] = {NULL, columns_1, columns_2, columns_3, columns_4};
static columns_t *const columns_partial[] = {NULL, partial_1, partial_2, partial_3, partial_4};
#else
static columns_t *const columns_whole[] = {NULL, columns_1, columns_2, columns_3};
static columns_t *const columns_partial[] = {NULL, partial_1, partial_2, partial_3};
#endif

static void all_columns(float *c, const float *a, const float *b, const float *bias,
                        bool accumulate, const nn_product_t *p)
{
    size_t at = 0;
    if (p->rows == 1 || p->rows == FEW_ROWS)
        for (; at + FEW_VECTORS * LANES <= p->cols; at += FEW_VECTORS * LANES)
            few_columns(c + at, a, b + at, bias ? bias + at : NULL, accumulate, p);
    while (at < p->cols) {
        size_t left = (p->cols - at + LANES - 1) / LANES, nv = group_vectors(left, p->rows);
        size_t end = at + nv * LANES < p->cols ? at + nv * LANES : p->cols;
        size_t lanes = end - at - (nv - 1) * LANES;
        columns_t *columns = (lanes == LANES ? columns_whole : columns_partial)[nv];
        columns(c + at, a, b + at, bias ? bias + at : NULL, accumulate, p, make_tail(lanes));
        at = end;
    }
}

enum { LONG_INNER = 128, ROWS_CHUNK = 48 };

/* A long sum of columns of a (a weight's gradient) in parts, and some rows at a time: what a part
 * reads of a and b, a cache line for every term, stays in L1. */
static void long_product(float *c, const float *a, const float *b, const float *bias,
                         bool accumulate, const nn_product_t *p)
{
    nn_product_t part = *p;
    for (size_t k = 0; k < p->inner; k += LONG_INNER) {
        part.inner = p->inner - k < LONG_INNER ? p->inner - k : LONG_INNER;
        part.clamp = p->clamp && k + part.inner == p->inner;
        for (size_t r = 0; r < p->rows; r += ROWS_CHUNK) {
            part.rows = p->rows - r < ROWS_CHUNK ? p->rows - r : ROWS_CHUNK;
            all_columns(c + r * p->c_row, a + r * p->a_row + k * p->a_inner, b + k * p->b_inner,
                        bias, accumulate || k > 0, &part);
        }
    }
}

static void K(product)(float *c, const float *a, const float *b, const float *bias, bool accumulate,
                       const nn_product_t *p)
{
    if (p->outer == 1 && p->inner >= 2 * LONG_INNER && p->a_inner > 1)
        long_product(c, a, b, bias, accumulate, p);
    else
        all_columns(c, a, b, bias, accumulate, p);
}
