/* Plain C: what every other level is tested against. */
#include "nn/kernels_tables.h"

#define K(name) name##_c

static inline void add_scaled(float *restrict to, float factor, const float *restrict from,
                              size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += factor * from[i];
}

static void product_c(float *c, const float *a, const float *b, const float *bias, bool accumulate,
                      const nn_product_t *p)
{
    const size_t width = p->b_panel ? NN_PANEL : p->cols;
    for (size_t r = 0; r < p->rows; r++) {
        float *row = c + r * p->c_row;
        for (size_t n = 0; n < p->cols && !accumulate; n++)
            row[n] = bias ? bias[n] : 0.0f;
        for (size_t q = 0; q < p->outer; q++) {
            for (size_t k = 0; k < p->inner; k++) {
                float s = a[r * p->a_row + q * p->a_outer + k * p->a_inner];
                const float *from = b + q * p->b_outer + k * p->b_inner;
                for (size_t n = 0; n < p->cols; n += width, from += p->b_panel)
                    add_scaled(row + n, s, from, p->cols - n < width ? p->cols - n : width);
            }
        }
        for (size_t n = 0; n < p->cols && p->clamp; n++) {
            row[n] = row[n] < p->low ? p->low : row[n];
            row[n] = row[n] > p->high ? p->high : row[n];
        }
    }
}

/* Vectors of one lane. */
typedef float vec;
typedef bool tail_t;
enum { LANES = 1 };
#define v_zero()                        0.0f
#define v_load(p)                       (*(p))
#define v_load_tail(p, tail)            ((void)(tail), *(p))
#define v_store(p, v)                   ((void)(*(p) = (v)))
#define v_store_tail(p, v, tail)        ((void)(tail), (void)(*(p) = (v)))
#define v_set1(s)                       (s)
#define v_add(a, b)                     ((a) + (b))
#define v_sub(a, b)                     ((a) - (b))
#define v_mul(a, b)                     ((a) * (b))
#define v_fma(a, b, c)                  ((a) * (b) + (c))
#define v_fnma(a, b, c)                 ((c) - (a) * (b))
#define v_max(a, b)                     ((a) > (b) ? (a) : (b))
#define v_min(a, b)                     ((a) < (b) ? (a) : (b))
#define v_keep_between(g, v, low, high) ((v) > (low) && (v) < (high) ? (g) : 0.0f)

static inline tail_t make_tail(size_t lanes)
{
    return lanes != 0;
}

/* to[lane] += v[lane] */
static inline void v_add_doubles(double *to, vec v)
{
    *to += (double)v;
}

#include "nn/kernels_body.h"
#include "nn/depthwise_body.h"
#include "nn/winograd_body.h"

const nn_kernels_t nn_kernels_c = KERNELS_TABLE("c");
