#include <immintrin.h>

#include "nn/kernels_tables.h"

#define K(name) name##_avx2

typedef __m256 vec;
typedef __m256i tail_t; /* lanes of the last vector: all ones where used */
enum { LANES = 8, NV_MAX = 3, ROWS_MAX = 12 };
#define v_zero()                 _mm256_setzero_ps()
#define v_fetch(p)               __builtin_prefetch(p)
#define v_load(p)                _mm256_loadu_ps(p)
#define v_load_tail(p, tail)     _mm256_maskload_ps(p, tail)
#define v_store(p, v)            _mm256_storeu_ps(p, v)
#define v_store_tail(p, v, tail) _mm256_maskstore_ps(p, tail, v)
#define v_set1(s)                _mm256_set1_ps(s)
#define v_fma(a, b, c)           _mm256_fmadd_ps(a, b, c)
/* Of a NaN and a number, max and min give the second operand. */
#define v_add(a, b)     _mm256_add_ps(a, b)
#define v_sub(a, b)     _mm256_sub_ps(a, b)
#define v_mul(a, b)     _mm256_mul_ps(a, b)
#define v_fnma(a, b, c) _mm256_fnmadd_ps(a, b, c) /* c - a * b */
#define v_max(a, b)     _mm256_max_ps(a, b)
#define v_min(a, b)     _mm256_min_ps(a, b)
/* g where low < v < high, else 0 */
#define v_keep_between(g, v, low, high)                                                            \
    _mm256_and_ps(g, _mm256_and_ps(_mm256_cmp_ps(v, low, _CMP_GT_OQ),                              \
                                   _mm256_cmp_ps(v, high, _CMP_LT_OQ)))

static tail_t make_tail(size_t lanes)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)lanes),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* to[lane] += v[lane] */
static inline void v_add_doubles(double *to, vec v)
{
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
    __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    _mm256_storeu_pd(to, _mm256_add_pd(_mm256_loadu_pd(to), low));
    _mm256_storeu_pd(to + 4, _mm256_add_pd(_mm256_loadu_pd(to + 4), high));
}

/* 16 registers: R * NV sums, NV weights, one broadcast. */
#define TILE_ROWS(NV) ((NV) == 1 ? 12 : (NV) == 2 ? 6 : 4)
#define HAS_4_VECTORS 0

/* Vectors of the next group of columns: pairs, and three together at the end of an odd number or
 * where there are so few rows that pairs would leave registers unused. */
static size_t group_vectors(size_t left, size_t rows)
{
    return left <= 3 ? left : rows <= TILE_ROWS(3) ? 3 : 2;
}

#include "nn/product_body.h"

#include "nn/kernels_body.h"
#include "nn/depthwise_body.h"
#include "nn/winograd_body.h"

const nn_kernels_t nn_kernels_avx2 = KERNELS_TABLE("avx2");
