/* nn/transpose.h: weights between PyTorch's order and that of the kernels. */
#pragma once
#include <stddef.h>

/* to (cols,rows), rows `to_row` floats apart = from (rows,cols), rows `from_row` floats apart. They
 * do not overlap. */
void nn_transpose(float *to, size_t to_row, const float *from, size_t from_row, size_t rows,
                  size_t cols);
