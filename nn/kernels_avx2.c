#include <immintrin.h>

#include "nn/kernels_tables.h"

#define K(name) name##_avx2

typedef __m256 vec;
typedef __m256i tail_t; /* lanes of the last vector: all ones where used */
enum { LANES = 8, NV_MAX = 2, ROWS_MAX = 12 };
#define v_zero()                 _mm256_setzero_ps()
#define v_load(p)                _mm256_loadu_ps(p)
#define v_load_tail(p, tail)     _mm256_maskload_ps(p, tail)
#define v_store(p, v)            _mm256_storeu_ps(p, v)
#define v_store_tail(p, v, tail) _mm256_maskstore_ps(p, tail, v)
#define v_set1(s)                _mm256_set1_ps(s)
#define v_fma(a, b, c)           _mm256_fmadd_ps(a, b, c)

static tail_t make_tail(size_t lanes)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)lanes),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#include "nn/product_body.h"

/* 16 registers: R * NV sums, NV weights, one broadcast. */
COLUMNS(1, 12,
        TILE_CASE(1, 1) TILE_CASE(2, 1) TILE_CASE(3, 1) TILE_CASE(4, 1) TILE_CASE(5, 1)
            TILE_CASE(6, 1) TILE_CASE(7, 1) TILE_CASE(8, 1) TILE_CASE(9, 1) TILE_CASE(10, 1)
                TILE_CASE(11, 1) TILE_CASE(12, 1))
COLUMNS(2, 6,
        TILE_CASE(1, 2) TILE_CASE(2, 2) TILE_CASE(3, 2) TILE_CASE(4, 2) TILE_CASE(5, 2)
            TILE_CASE(6, 2))

static void product_avx2(float *c, const float *a, const float *b, const float *bias,
                         bool accumulate, const nn_product_t *p)
{
    for (size_t at = 0; at < p->cols; at += NV_MAX * LANES) {
        size_t left = p->cols - at, nv = left > LANES ? 2 : 1;
        size_t lanes = left - (nv - 1) * LANES;
        tail_t tail = make_tail(lanes < LANES ? lanes : LANES);
        const float *bias_at = bias ? bias + at : NULL;
        if (nv == 2)
            columns_2(c + at, a, b + at, bias_at, accumulate, p, tail);
        else
            columns_1(c + at, a, b + at, bias_at, accumulate, p, tail);
    }
}

#include "nn/kernels_body.h"

const nn_kernels_t nn_kernels_avx2 = KERNELS_TABLE("avx2");
