/* quant/kernels_int8_body.h: the kernels in vectors of LANES int32. The includer defines
 *   veci, vecf           LANES int32, LANES float
 *   LANES, GROUP         GROUP 2: elem_t is int16_t; 4: uint8_t
 *   TILE_ROWS(NV), ROWS_MAX   rows whose sums of NV vectors fit the registers
 *   v_load(p), v_group(p)     LANES int32; the 4 bytes at p in every lane
 *   v_dot(sum, a, w)     sum + the products of a's group with w's, in every lane
 *   v_dot16(sum, a, w)   the same of pairs of int16
 *   v_set(s), v_add(v, v2)
 *   v_bytes(p)           LANES uint8 as int32
 *   v_float(v), v_int(f) int32 to float; float to int32, to nearest, ties to even
 *   v_store_1(to, v, zero), v_store_2(to, v, v2, zero)  clamp(v + zero) as LANES, 2 * LANES uint8
 *   v_store_halves(to, v, v2, zero)  the same of a block of channels in halves (kernels_int8.h)
 *   v_interleave(low, high, to...)   two lines of 2 * LANES uint8 as halves of pairs of int16
 * and float operations f_*. */
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* R and NV are constants wherever this is called, so `sum` becomes registers. */
INLINE void tile_sums(veci sum[ROWS_MAX][QUANT_BUNDLE], const elem_t *const *a, const uint8_t *w,
                      const int32_t *bias, const quant_product_t *p, const int R, const int NV)
{
    const size_t groups = (p->inner + GROUP - 1) / GROUP;
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++)
            sum[r][v] = v_load(bias + v * LANES);
    }
    for (size_t q = 0; q < p->outer; q++) {
        const size_t from = q * p->a_outer;
        for (size_t g = 0; g < groups; g++, w += NV * LANES * 4) {
            veci weight[QUANT_BUNDLE];
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++)
                weight[v] = v_load(w + v * LANES * 4);
#pragma GCC unroll 32
            for (int r = 0; r < R; r++) {
                const veci x = v_group(a[r] + from + g * GROUP);
#pragma GCC unroll 2
                for (int v = 0; v < NV; v++)
                    sum[r][v] = v_dot(sum[r][v], x, weight[v]);
            }
        }
    }
}

INLINE veci requantized(veci sum, const float *multiplier)
{
    return v_int(f_mul(v_float(sum), f_load(multiplier)));
}

/* Columns o .. o+count-1 of R rows; count is NV * LANES, or less at the end. */
INLINE void tile(void *c, const elem_t *const *a, const uint8_t *w, const quant_product_t *p,
                 size_t o, size_t count, const int R, const int NV, const bool LOGITS)
{
    veci sum[ROWS_MAX][QUANT_BUNDLE];
    const bool whole = count == (size_t)NV * LANES;
    tile_sums(sum, a, w, p->bias + o, p, R, NV);
#pragma GCC unroll 32
    for (int r = 0; r < R; r++) {
        const size_t at = (size_t)r * p->cols + o;
        if (LOGITS) {
            float some[QUANT_BUNDLE * LANES];
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++)
                f_store(some + v * LANES,
                        f_mul(v_float(sum[r][v]), f_load(p->multiplier + o + v * LANES)));
            memcpy((float *)c + at, some, count * sizeof *some);
            continue;
        }
        uint8_t some[QUANT_BUNDLE * LANES], *to = whole ? (uint8_t *)c + at : some;
        const veci first = requantized(sum[r][0], p->multiplier + o);
        if (NV == 2)
            v_store_2(to, first, requantized(sum[r][NV - 1], p->multiplier + o + LANES), p->zero);
        else
            v_store_1(to, first, p->zero);
        if (!whole)
            memcpy((uint8_t *)c + at, some, count);
    }
}

/* Where output pixels begin to read, one after another. */
typedef struct {
    const elem_t *at;
    size_t left; /* of its line, it included */
} reader_t;

INLINE reader_t reader(const elem_t *a, const quant_product_t *p, size_t r)
{
    const size_t line = r / p->line, column = r % p->line;
    return (reader_t){a + line * p->a_line + column * p->a_pixel, p->line - column};
}

INLINE const elem_t *read_pixel(reader_t *from, const quant_product_t *p)
{
    const elem_t *at = from->at;
    from->at += p->a_pixel;
    if (--from->left == 0) {
        from->at += p->a_line - p->line * p->a_pixel;
        from->left = p->line;
    }
    return at;
}

#define TILE_CASE(R, NV, LOGITS)                                                                   \
    case R:                                                                                        \
        if (R <= TILE_ROWS(NV))                                                                    \
            tile(c, rows, w, p, o, count, R <= TILE_ROWS(NV) ? R : 1, NV, LOGITS);                 \
        break;

/* One bundle of columns: rows in tiles of nearly equal height. */
#define COLUMNS(NAME, NV, LOGITS)                                                                  \
    static void NAME(void *to, const elem_t *a, const uint8_t *w, const quant_product_t *p,        \
                     size_t o, size_t count, size_t first, size_t end)                             \
    {                                                                                              \
        const size_t tiles = (end - first + TILE_ROWS(NV) - 1) / TILE_ROWS(NV);                    \
        const size_t height = (end - first) / tiles, higher = (end - first) % tiles;               \
        reader_t from = reader(a, p, first);                                                       \
        for (size_t t = 0; t < tiles; t++) {                                                       \
            const size_t R = height + (t < higher);                                                \
            const elem_t *rows[ROWS_MAX];                                                          \
            void *c = (uint8_t *)to + first * p->cols * (LOGITS ? sizeof(float) : 1);              \
            for (size_t r = 0; r < R; r++)                                                         \
                rows[r] = read_pixel(&from, p);                                                    \
            switch (R) {                                                                           \
                TILE_CASE(1, NV, LOGITS)                                                           \
                TILE_CASE(2, NV, LOGITS)                                                           \
                TILE_CASE(3, NV, LOGITS)                                                           \
                TILE_CASE(4, NV, LOGITS)                                                           \
                TILE_CASE(5, NV, LOGITS)                                                           \
                TILE_CASE(6, NV, LOGITS)                                                           \
                TILE_CASE(7, NV, LOGITS)                                                           \
                TILE_CASE(8, NV, LOGITS)                                                           \
                TILE_CASE(9, NV, LOGITS)                                                           \
                TILE_CASE(10, NV, LOGITS)                                                          \
                TILE_CASE(11, NV, LOGITS)                                                          \
                TILE_CASE(12, NV, LOGITS)                                                          \
            }                                                                                      \
            first += R;                                                                            \
        }                                                                                          \
    }

COLUMNS(columns_1, 1, false)
COLUMNS(columns_2, 2, false)
COLUMNS(logits_1, 1, true)
COLUMNS(logits_2, 2, true)

INLINE void all_columns(void *c, const void *a, const quant_product_t *p, size_t first, size_t end,
                        const bool LOGITS)
{
    const uint8_t *w = p->weights;
    const size_t groups = p->outer * ((p->inner + GROUP - 1) / GROUP);
    for (size_t o = 0; o < p->cols && first < end;) {
        const size_t left = p->cols - o, nv = left > LANES ? 2 : 1;
        const size_t count = left < nv * LANES ? left : nv * LANES;
        if (LOGITS)
            (nv == 2 ? logits_2 : logits_1)(c, a, w, p, o, count, first, end);
        else
            (nv == 2 ? columns_2 : columns_1)(c, a, w, p, o, count, first, end);
        w += groups * nv * LANES * 4;
        o += count;
    }
}

static void K(product)(uint8_t *c, const void *a, const quant_product_t *p, size_t first,
                       size_t end)
{
    all_columns(c, a, p, first, end, false);
}

static void K(logits)(float *c, const void *a, const quant_product_t *p, size_t first, size_t end)
{
    all_columns(c, a, p, first, end, true);
}

/* Depthwise: two lines of the input at a time are interleaved into pairs of int16 in `scratch`, a
 * border column at either side, so that one v_dot16 multiplies two taps of a channel. Lines 2j and
 * 2j+1 of the output (with stride 2: line j) are made of pairs j and j + 1, pair j being lines 2j-1
 * and 2j of the input. */
enum { BLOCK = 2 * LANES, PAIR = 2 * BLOCK }; /* channels; int16 of a pair's column */

/* Pair j of one block of channels; a line outside is padding. */
static void interleave_pair(int16_t *to, const uint8_t *x, const quant_depthwise_t *p, size_t j)
{
    uint8_t padding[BLOCK];
    memset(padding, p->padding, sizeof padding);
    const bool upper = j > 0 && 2 * j - 1 < p->H, lower = 2 * j < p->H;
    const uint8_t *first = upper ? x + (2 * j - 1) * p->W * p->C : padding;
    const uint8_t *second = lower ? x + 2 * j * p->W * p->C : padding;
    const size_t first_step = upper ? p->C : 0, second_step = lower ? p->C : 0;
    v_interleave(to, padding, padding);
    for (size_t w = 0; w < p->W; w++)
        v_interleave(to + (w + 1) * PAIR, first + w * first_step, second + w * second_step);
    v_interleave(to + (p->W + 1) * PAIR, padding, padding);
}

/* One line of one block: `w` and its counterpart of the other half are 6 vectors each, for the line
 * at hand. */
INLINE void filter_line(uint8_t *y, const int16_t *pair, const int16_t *next, const int16_t *w,
                        const int32_t *bias, const float *multiplier, const quant_depthwise_t *p,
                        size_t count, const size_t stride)
{
    veci low[6], high[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        low[i] = v_load(w + i * 2 * LANES);
        high[i] = v_load(w + (12 + i) * 2 * LANES);
    }
    for (size_t q = 0; q < p->Q; q++, y += p->C) {
        veci a = v_load(bias), b = v_load(bias + LANES);
        const int16_t *from[2] = {pair + q * stride * PAIR, next + q * stride * PAIR};
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) {
            const int16_t *at = from[i / 3] + i % 3 * PAIR;
            a = v_dot16(a, v_load(at), low[i]);
            b = v_dot16(b, v_load(at + BLOCK), high[i]);
        }
        a = requantized(a, multiplier);
        b = requantized(b, multiplier + LANES);
        if (count == BLOCK) {
            v_store_halves(y, a, b, p->zero);
        } else {
            uint8_t some[BLOCK];
            v_store_halves(some, a, b, p->zero);
            memcpy(y, some, count);
        }
    }
}

static void K(depthwise)(uint8_t *y, const uint8_t *x, const quant_depthwise_t *p, size_t first,
                         size_t end, int16_t *scratch)
{
    const size_t pair_count = (p->W + 2) * PAIR, per_pair = p->stride == 1 ? 2 : 1;
    for (size_t c = 0; c < p->C; c += BLOCK) {
        const size_t count = p->C - c < BLOCK ? p->C - c : BLOCK;
        const int16_t *w = p->weights + c * 24;
        const int32_t *bias = p->bias + c;
        const float *multiplier = p->multiplier + c;
        int16_t *pair = scratch, *next = scratch + pair_count;
        size_t j = first / per_pair;
        interleave_pair(pair, x + c, p, j);
        for (size_t line = first; line < end; j++) {
            interleave_pair(next, x + c, p, j + 1);
            for (; line < end && line / per_pair == j; line++) {
                uint8_t *to = y + line * p->Q * p->C + c;
                const size_t odd = per_pair == 2 ? line % 2 : 0;
                if (p->stride == 1)
                    filter_line(to, pair, next, w + odd * 12 * LANES, bias, multiplier, p, count,
                                1);
                else
                    filter_line(to, pair, next, w, bias, multiplier, p, count, 2);
            }
            int16_t *swap = pair;
            pair = next;
            next = swap;
        }
    }
}

static void K(quantize)(uint8_t *q, const float *x, float scale, int32_t zero, size_t count)
{
    const vecf by = f_set(scale), low = f_set((float)-zero), high = f_set((float)(255 - zero));
    for (size_t i = 0; i < count; i += LANES) {
        const size_t n = count - i < LANES ? count - i : LANES;
        float some[LANES] = {0};
        uint8_t bytes[LANES];
        memcpy(some, x + i, n * sizeof *some);
        /* Of a NaN and a number, min gives the second operand. */
        const vecf v = f_max(f_min(f_div(f_load(some), by), high), low);
        v_store_1(bytes, v_int(v), zero);
        memcpy(q + i, bytes, n);
    }
}

static void K(add)(uint8_t *y, const uint8_t *x0, const uint8_t *x1, const quant_add_t *p,
                   size_t count)
{
    const vecf a = f_set(p->a), b = f_set(p->b), offset = f_set(p->offset);
    for (size_t i = 0; i < count; i += LANES) {
        const vecf x = v_float(v_bytes(x0 + i)), z = v_float(v_bytes(x1 + i));
        const veci sum = v_int(f_fma(x, a, f_fma(z, b, offset)));
        if (count - i >= LANES) {
            v_store_1(y + i, sum, 0);
        } else {
            uint8_t some[LANES];
            v_store_1(some, sum, 0);
            memcpy(y + i, some, count - i);
        }
    }
}

static void K(mean)(uint8_t *y, const uint8_t *x, size_t pixels, size_t C, int32_t offset,
                    float multiplier, int32_t zero)
{
    for (size_t c = 0; c < C; c += LANES) {
        const size_t count = C - c < LANES ? C - c : LANES;
        veci sum = v_set(-offset);
        uint8_t some[LANES];
        for (size_t i = 0; i < pixels; i++)
            sum = v_add(sum, v_bytes(x + i * C + c));
        v_store_1(some, v_int(f_mul(v_float(sum), f_set(multiplier))), zero);
        memcpy(y + c, some, count);
    }
}

#define KERNELS_TABLE(NAME, WIDEN)                                                                 \
    {                                                                                              \
        .name = NAME, .lanes = LANES, .group = GROUP, .quantize = K(quantize), .widen = WIDEN,     \
        .product = K(product), .logits = K(logits), .depthwise = K(depthwise), .add = K(add),      \
        .mean = K(mean)                                                                            \
    }
