/* nn/blas.h: the only door to OpenBLAS. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Row-major C (M,N) = op(A) op(B) + beta C; op transposes when its flag is set. */
void nn_blas_product(float *c, const float *a, const float *b, bool transpose_a, bool transpose_b,
                     size_t M, size_t N, size_t K, size_t lda, size_t ldb, size_t ldc, float beta);
