#include <immintrin.h>

#include "nn/kernels_tables.h"

#define K(name) name##_avx512

typedef __m512 vec;
typedef __mmask16 tail_t; /* lanes of the last vector */
enum { LANES = 16, NV_MAX = 4, ROWS_MAX = 16 };
#define v_zero()                 _mm512_setzero_ps()
#define v_load(p)                _mm512_loadu_ps(p)
#define v_load_tail(p, tail)     _mm512_maskz_loadu_ps(tail, p)
#define v_store(p, v)            _mm512_storeu_ps(p, v)
#define v_store_tail(p, v, tail) _mm512_mask_storeu_ps(p, tail, v)
#define v_set1(s)                _mm512_set1_ps(s)
#define v_fma(a, b, c)           _mm512_fmadd_ps(a, b, c)

static tail_t make_tail(size_t lanes)
{
    return (tail_t)((1u << lanes) - 1);
}

#include "nn/product_body.h"

/* 32 registers: R * NV sums, NV weights, one broadcast. */
COLUMNS(1, 16,
        TILE_CASE(1, 1) TILE_CASE(2, 1) TILE_CASE(3, 1) TILE_CASE(4, 1) TILE_CASE(5, 1)
            TILE_CASE(6, 1) TILE_CASE(7, 1) TILE_CASE(8, 1) TILE_CASE(9, 1) TILE_CASE(10, 1)
                TILE_CASE(11, 1) TILE_CASE(12, 1) TILE_CASE(13, 1) TILE_CASE(14, 1) TILE_CASE(15, 1)
                    TILE_CASE(16, 1))
COLUMNS(2, 14,
        TILE_CASE(1, 2) TILE_CASE(2, 2) TILE_CASE(3, 2) TILE_CASE(4, 2) TILE_CASE(5, 2)
            TILE_CASE(6, 2) TILE_CASE(7, 2) TILE_CASE(8, 2) TILE_CASE(9, 2) TILE_CASE(10, 2)
                TILE_CASE(11, 2) TILE_CASE(12, 2) TILE_CASE(13, 2) TILE_CASE(14, 2))
COLUMNS(3, 9,
        TILE_CASE(1, 3) TILE_CASE(2, 3) TILE_CASE(3, 3) TILE_CASE(4, 3) TILE_CASE(5, 3)
            TILE_CASE(6, 3) TILE_CASE(7, 3) TILE_CASE(8, 3) TILE_CASE(9, 3))
COLUMNS(4, 6,
        TILE_CASE(1, 4) TILE_CASE(2, 4) TILE_CASE(3, 4) TILE_CASE(4, 4) TILE_CASE(5, 4)
            TILE_CASE(6, 4))

static void product_avx512(float *c, const float *a, const float *b, const float *bias,
                           bool accumulate, const nn_product_t *p)
{
    size_t vectors = (p->cols + LANES - 1) / LANES, groups = (vectors + NV_MAX - 1) / NV_MAX;
    for (size_t g = 0, at = 0; g < groups; g++) {
        size_t nv = vectors / groups + (g < vectors % groups);
        size_t end = at + nv * LANES < p->cols ? at + nv * LANES : p->cols;
        tail_t tail = make_tail(end - at - (nv - 1) * LANES);
        const float *bias_at = bias ? bias + at : NULL;
        if (nv == 4)
            columns_4(c + at, a, b + at, bias_at, accumulate, p, tail);
        else if (nv == 3)
            columns_3(c + at, a, b + at, bias_at, accumulate, p, tail);
        else if (nv == 2)
            columns_2(c + at, a, b + at, bias_at, accumulate, p, tail);
        else
            columns_1(c + at, a, b + at, bias_at, accumulate, p, tail);
        at = end;
    }
}

#include "nn/kernels_body.h"

const nn_kernels_t nn_kernels_avx512 = KERNELS_TABLE("avx512");
