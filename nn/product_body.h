/* nn/product_body.h: the product (kernels.h) in tiles that live in registers: R rows of NV vectors.
 * The includer defines vec, LANES, tail_t, the v_* operations on them, NV_MAX, and for each NV from
 * 1 to NV_MAX how many rows fit: TILE_ROWS(NV), at most ROWS_MAX. */

static inline size_t panel_of(const nn_product_t *p)
{
    return p->b_panel ? p->b_panel : NN_PANEL; /* then columns simply follow one another */
}

/* Floats from where a panel of b begins to a column of it, or of the panels behind it. */
static inline size_t b_at(size_t column, size_t panel)
{
    return column / NN_PANEL * panel + column % NN_PANEL;
}

/* What is fetched while a tile is calculated: `step` floats further on at every term. */
typedef struct {
    const float *from;
    size_t step;
} ahead_t;

/* R, NV, PARTIAL and AHEAD are constants wherever this is called, so `sum` becomes registers.
 * PARTIAL: the last vector is cut by `tail` (masked stores are slow on some CPUs, so whole vectors
 * do without). AHEAD: `ahead` is heeded. What c holds is added last: it need not be near. */
static inline __attribute__((always_inline)) void tile(float *c, const float *a, const float *b,
                                                       const float *bias, bool accumulate,
                                                       const nn_product_t *p, tail_t tail,
                                                       ahead_t ahead, const int R, const int NV,
                                                       const bool PARTIAL, const bool AHEAD)
{
    vec sum[ROWS_MAX][NV_MAX]; /* a constant size, or it would live in memory */
    const size_t a_row = p->a_row, a_inner = p->a_inner, b_inner = p->b_inner, c_row = p->c_row;
    const size_t panel = panel_of(p);
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
            if (AHEAD) {
                v_fetch(ahead.from);
                ahead.from += ahead.step;
            }
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                const float *from = bq + b_at((size_t)v * LANES, panel);
                w[v] = PARTIAL && v + 1 == NV ? v_load_tail(from, tail) : v_load(from);
            }
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

#define TILE_CASE(R, NV, PARTIAL, AHEAD)                                                           \
    case R:                                                                                        \
        if (R <= TILE_ROWS(NV))                                                                    \
            tile(c, a, b, bias, accumulate, p, tail, ahead, R <= TILE_ROWS(NV) ? R : 1, NV,        \
                 PARTIAL, AHEAD);                                                                  \
        break;

/* One group of columns: rows in tiles of nearly equal height. AHEAD: the group behind it is fetched
 * meanwhile, by every tile its share. */
#define COLUMNS(NAME, NV, PARTIAL, AHEAD)                                                          \
    static void NAME(float *c, const float *a, const float *b, const float *bias, bool accumulate, \
                     const nn_product_t *p, tail_t tail)                                           \
    {                                                                                              \
        size_t tiles = (p->rows + TILE_ROWS(NV) - 1) / TILE_ROWS(NV);                              \
        size_t height = tiles ? p->rows / tiles : 0, higher = tiles ? p->rows % tiles : 0;         \
        const size_t step = AHEAD ? (NV * LANES + tiles - 1) / tiles : 0;                          \
        ahead_t ahead = {b + b_at(NV * LANES, p->b_panel), step};                                  \
        for (size_t t = 0; t < tiles; t++, ahead.from += step * p->outer * p->inner) {             \
            size_t rows = height + (t < higher);                                                   \
            switch (rows) {                                                                        \
                TILE_CASE(1, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(2, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(3, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(4, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(5, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(6, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(7, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(8, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(9, NV, PARTIAL, AHEAD)                                                   \
                TILE_CASE(10, NV, PARTIAL, AHEAD)                                                  \
                TILE_CASE(11, NV, PARTIAL, AHEAD)                                                  \
                TILE_CASE(12, NV, PARTIAL, AHEAD)                                                  \
                TILE_CASE(13, NV, PARTIAL, AHEAD)                                                  \
                TILE_CASE(14, NV, PARTIAL, AHEAD)                                                  \
                TILE_CASE(15, NV, PARTIAL, AHEAD)                                                  \
                TILE_CASE(16, NV, PARTIAL, AHEAD)                                                  \
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
    const size_t panel = panel_of(p);
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
                    sum[r][v] = v_fma(s, v_load(bq + b_at((size_t)v * LANES, panel)), sum[r][v]);
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

COLUMNS(columns_1, 1, false, false)
COLUMNS(columns_2, 2, false, false)
COLUMNS(columns_3, 3, false, false)
COLUMNS(partial_1, 1, true, false)
COLUMNS(partial_2, 2, true, false)
COLUMNS(partial_3, 3, true, false)
COLUMNS(ahead_1, 1, false, true)
COLUMNS(ahead_2, 2, false, true)
COLUMNS(ahead_3, 3, false, true)
#if HAS_4_VECTORS
COLUMNS(columns_4, 4, false, false)
COLUMNS(partial_4, 4, true, false)
COLUMNS(ahead_4, 4, false, true)
static columns_t *const columns_whole[] = {NULL, columns_1, columns_2, columns_3, columns_4};
static columns_t *const columns_partial[] = {NULL, partial_1, partial_2, partial_3, partial_4};
static columns_t *const columns_ahead[] = {NULL, ahead_1, ahead_2, ahead_3, ahead_4};
#else
static columns_t *const columns_whole[] = {NULL, columns_1, columns_2, columns_3};
static columns_t *const columns_partial[] = {NULL, partial_1, partial_2, partial_3};
static columns_t *const columns_ahead[] = {NULL, ahead_1, ahead_2, ahead_3};
#endif

enum { AHEAD_ROWS = 64 }; /* more use their weights so often that waiting for them is no matter */

static void all_columns(float *c, const float *a, const float *b, const float *bias,
                        bool accumulate, const nn_product_t *p)
{
    const size_t panel = panel_of(p);
    const bool fetch = p->b_panel && p->rows <= AHEAD_ROWS;
    size_t at = 0;
    if (p->rows == 1 || p->rows == FEW_ROWS)
        for (; at + FEW_VECTORS * LANES <= p->cols; at += FEW_VECTORS * LANES)
            few_columns(c + at, a, b + b_at(at, panel), bias ? bias + at : NULL, accumulate, p);
    while (at < p->cols) {
        size_t left = (p->cols - at + LANES - 1) / LANES, nv = group_vectors(left, p->rows);
        if (p->b_panel && nv * LANES > NN_PANEL) /* whole panels */
            nv -= nv * LANES % NN_PANEL / LANES;
        size_t end = at + nv * LANES < p->cols ? at + nv * LANES : p->cols;
        size_t lanes = end - at - (nv - 1) * LANES;
        columns_t *const *of = lanes < LANES ? columns_partial
                               : fetch       ? columns_ahead
                                             : columns_whole;
        of[nv](c + at, a, b + b_at(at, panel), bias ? bias + at : NULL, accumulate, p,
               make_tail(lanes));
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
