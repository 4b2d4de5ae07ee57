#if defined(HEARSAY_EMULATE_AVX512)
#include "nn/emulate_avx512.h"
#else
#include <immintrin.h>
#endif

#include "nn/kernels_tables.h"

#define K(name) name##_avx512

typedef __m512 vec;
typedef __mmask16 tail_t; /* lanes of the last vector */
enum { LANES = 16, NV_MAX = 4, ROWS_MAX = 16 };
#define v_zero()                 _mm512_setzero_ps()
#define v_fetch(p)               __builtin_prefetch(p)
#define v_load(p)                _mm512_loadu_ps(p)
#define v_load_tail(p, tail)     _mm512_maskz_loadu_ps(tail, p)
#define v_store(p, v)            _mm512_storeu_ps(p, v)
#define v_store_tail(p, v, tail) _mm512_mask_storeu_ps(p, tail, v)
#define v_set1(s)                _mm512_set1_ps(s)
#define v_fma(a, b, c)           _mm512_fmadd_ps(a, b, c)
/* Of a NaN and a number, max and min give the second operand. */
#define v_add(a, b)     _mm512_add_ps(a, b)
#define v_sub(a, b)     _mm512_sub_ps(a, b)
#define v_mul(a, b)     _mm512_mul_ps(a, b)
#define v_fnma(a, b, c) _mm512_fnmadd_ps(a, b, c) /* c - a * b */
#define v_max(a, b)     _mm512_max_ps(a, b)
#define v_min(a, b)     _mm512_min_ps(a, b)
/* g where low < v < high, else 0 */
#define v_keep_between(g, v, low, high)                                                            \
    _mm512_maskz_mov_ps(_mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(v, low, _CMP_GT_OQ), v, high,   \
                                                _CMP_LT_OQ),                                       \
                        g)

static tail_t make_tail(size_t lanes)
{
    return (tail_t)((1u << lanes) - 1);
}

/* to[lane] += v[lane] */
static inline void v_add_doubles(double *to, vec v)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    _mm512_storeu_pd(to, _mm512_add_pd(_mm512_loadu_pd(to), low));
    _mm512_storeu_pd(to + 8, _mm512_add_pd(_mm512_loadu_pd(to + 8), high));
}

/* 32 registers: R * NV sums, NV weights, one broadcast. */
#define TILE_ROWS(NV) ((NV) == 1 ? 16 : (NV) == 2 ? 14 : (NV) == 3 ? 9 : 6)
#define HAS_4_VECTORS 1

/* Vectors of the next group of columns: groups as equal as they go. */
static size_t group_vectors(size_t left, size_t rows)
{
    (void)rows;
    size_t groups = (left + NV_MAX - 1) / NV_MAX;
    return (left + groups - 1) / groups;
}

#include "nn/product_body.h"

#include "nn/kernels_body.h"
#include "nn/depthwise_body.h"
#include "nn/winograd_body.h"

const nn_kernels_t nn_kernels_avx512 = KERNELS_TABLE("avx512");
