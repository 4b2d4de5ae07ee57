/* Plain C: what every other level is tested against. */
#include "nn/kernels_tables.h"

#define K(name) name##_c

static void product_c(float *c, const float *a, const float *b, const float *bias, bool accumulate,
                      const nn_product_t *p)
{
    for (size_t r = 0; r < p->rows; r++) {
        float *restrict row = c + r * p->c_row;
        for (size_t n = 0; n < p->cols && !accumulate; n++)
            row[n] = bias ? bias[n] : 0.0f;
        for (size_t q = 0; q < p->outer; q++) {
            for (size_t k = 0; k < p->inner; k++) {
                float s = a[r * p->a_row + q * p->a_outer + k * p->a_inner];
                const float *restrict from = b + q * p->b_outer + k * p->b_inner;
                for (size_t n = 0; n < p->cols; n++)
                    row[n] += s * from[n];
            }
        }
    }
}

#include "nn/kernels_body.h"

const nn_kernels_t nn_kernels_c = KERNELS_TABLE("c");
