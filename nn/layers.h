/* nn/layers.h: the layers that have weights, as pure functions over the caller's arrays.
 * float32, dense, NHWC: element [n,h,w,c] of (N,H,W,C) is at ((n*H + h)*W + w)*C + c.
 * Nothing here allocates, logs or fails. Other layers are kernels (kernels.h). */
#pragma once
#include <stdint.h>

#include "nn/kernels.h"

/* A convolution. Needs H + 2 pad >= kernel, W likewise, pad < kernel, groups dividing C and O. */
typedef struct {
    size_t H, W, C; /* input */
    size_t P, Q, O; /* output height, width, channels */
    size_t kernel, stride, pad, groups;
} nn_conv2d_t;

/* Elements of the packed weights (either form), and of the scratch memory. */
size_t nn_conv2d_packed(const nn_conv2d_t *d);
size_t nn_conv2d_scratch(const nn_conv2d_t *d);
/* How many pictures are best handled in one call; more or fewer are right, too. */
size_t nn_conv2d_pictures(const nn_conv2d_t *d);

/* PyTorch's OIHW to (K,K,C/groups,O), and for the gradient of the input to (K,K,O,C) turned by 180
 * degrees; those of a 1x1 kernel in panels (nn_product_packed), or all to the points of winograd.h
 * where that pays. `turned` may be NULL, and is not used when groups > 1. */
void nn_conv2d_pack(float *packed, float *turned, const float *w, const nn_conv2d_t *d);
/* The gradient's way back to OIHW, from (K,K,C/groups,O) or points. */
void nn_conv2d_unpack(float *w, const float *dpacked, const nn_conv2d_t *d);

/* Products of dense matrices, for nn_kernels_t's product: c (rows,cols) = a b with b (inner,cols)
 * and a (rows,inner), or, transposed, a (inner,rows). */
static inline nn_product_t nn_product_dense(size_t rows, size_t inner, size_t cols)
{
    return (nn_product_t){.rows = rows,
                          .cols = cols,
                          .outer = 1,
                          .inner = inner,
                          .a_row = inner,
                          .a_inner = 1,
                          .b_inner = cols,
                          .c_row = cols};
}

static inline nn_product_t nn_product_transposed(size_t rows, size_t inner, size_t cols)
{
    nn_product_t product = nn_product_dense(rows, inner, cols);
    product.a_row = 1;
    product.a_inner = rows;
    return product;
}

/* Packed weights (inner,cols) lie in panels of NN_PANEL columns, (inner,NN_PANEL) each, one behind
 * the other, so that a product reads them in order. Rows of all columns would lie too far apart for
 * prefetchers, and often in the same few cache sets. Where cols is no whole number of panels there
 * is one of all columns. */
static inline size_t nn_panel_width(size_t cols)
{
    return cols % NN_PANEL ? cols : NN_PANEL;
}

/* c (rows,cols) = a b with b (inner,cols) as nn_pack lays it. */
static inline nn_product_t nn_product_packed(size_t rows, size_t inner, size_t cols)
{
    nn_product_t product = nn_product_dense(rows, inner, cols);
    product.b_inner = nn_panel_width(cols);
    product.b_panel = cols % NN_PANEL ? 0 : inner * NN_PANEL;
    return product;
}

/* packed (inner,cols) from its transpose w (cols,inner), rows w_row apart; or from w (inner,cols)
 * as it is. */
void nn_pack_transposed(float *packed, const float *w, size_t w_row, size_t inner, size_t cols);
void nn_pack(float *packed, const float *w, size_t w_row, size_t inner, size_t cols);

/* n pictures.
 *   out y (n,P,Q,O)  overwritten
 *   in  x (n,H,W,C), packed, b (O) or NULL
 *   scratch (nn_conv2d_scratch) */
void nn_conv2d_forward(float *y, const float *x, const float *packed, const float *b,
                       const nn_conv2d_t *d, size_t n, float *scratch, const nn_kernels_t *k);
/*   out    dx (n,H,W,C)  overwritten; or NULL
 *   in-out dpacked (nn_conv2d_packed), db (O) or NULL: added to
 *   in  x (n,H,W,C), dy (n,P,Q,O); packed is used when groups > 1, turned otherwise */
void nn_conv2d_backward(float *dx, float *dpacked, float *db, const float *x, const float *dy,
                        const float *packed, const float *turned, const nn_conv2d_t *d, size_t n,
                        float *scratch, const nn_kernels_t *k);

/* Dense layers, y = x w^T + b, PyTorch's nn.Linear. Backward does without BLAS: its kernels for
 * small matrices take heap memory at every call. out y (N,O);  in x (N,I), w (O,I), b (O) or NULL
 */
void nn_dense_forward(float *y, const float *x, const float *w, const float *b, size_t N, size_t I,
                      size_t O);
/*   out dx (N,I);  in dy (N,O), w (O,I) */
void nn_dense_backward_input(float *dx, const float *dy, const float *w, size_t N, size_t I,
                             size_t O, const nn_kernels_t *k);
/* Rows o0 .. o1-1 of dw and db.
 *   out dw (O,I), db (O) or NULL;  in x (N,I), dy (N,O) */
void nn_dense_backward_weight(float *dw, float *db, const float *x, const float *dy, size_t N,
                              size_t I, size_t O, size_t o0, size_t o1, const nn_kernels_t *k);
/* Columns of a dense layer behind a flatten: from PyTorch's order (C,H,W) to ours (H,W,C), and
 * back. For rows o0 .. o1-1. */
void nn_dense_pack(float *packed, const float *w, size_t O, size_t H, size_t W, size_t C);
void nn_dense_unpack(float *w, const float *packed, size_t O, size_t H, size_t W, size_t C);

/* One picture; window and stride any. Gradient goes to the first largest, as in PyTorch.
 *   out y (P,Q,C);  in x (H,W,C);  dx is overwritten */
void nn_max_pool_forward(float *y, const float *x, size_t H, size_t W, size_t C, size_t kernel,
                         size_t stride);
void nn_max_pool_backward(float *dx, const float *x, const float *dy, size_t H, size_t W, size_t C,
                          size_t kernel, size_t stride);
/* One picture: y (C) mean over H*W rows of x. */
void nn_global_avg_pool_forward(float *y, const float *x, size_t rows, size_t C);
void nn_global_avg_pool_backward(float *dx, const float *dy, size_t rows, size_t C);

/* Mean cross-entropy of a batch and its gradient (PyTorch's nn.CrossEntropyLoss), sums in double.
 * `smoothing` in [0, 1) is its label_smoothing: the target is 1 - smoothing at the label, and
 * smoothing / classes everywhere.
 *   out dlogits (N,classes) or NULL;  out correct: largest logit (the first of equals) is the label
 *   returns the sum of the N losses */
double nn_cross_entropy(float *dlogits, size_t *correct, const float *logits, const int32_t *labels,
                        size_t N, size_t classes, double smoothing);
