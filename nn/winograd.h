/* nn/winograd.h: convolutions of stride 1 with 5x5 and 3x3 kernels by Winograd's minimal filtering
 * (Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks"): pictures in tiles of
 * 6x6, which give 2x2 or 4x4 outputs, each brought to 36 points where the convolution is a product;
 * 36 multiplications in place of 100 or 144. Gradients are the same steps transposed, so weights
 * stay at the points between packing and unpacking. What layers_conv.c calls. */
#pragma once
#include "nn/layers.h"

enum { NN_WINOGRAD_POINTS = 36 };

/* Whether it pays: enough whole tiles and channels. All below needs it. */
bool nn_winograd_suits(const nn_conv2d_t *d);
/* Elements of scratch memory, and as many pictures as it holds together. */
size_t nn_winograd_scratch(const nn_conv2d_t *d);
size_t nn_winograd_pictures(const nn_conv2d_t *d);
/* OIHW to (36,C,O), and (36,O,C) unless `turned` is NULL; and a gradient's way back. */
void nn_winograd_pack(float *packed, float *turned, const float *w, const nn_conv2d_t *d);
void nn_winograd_unpack(float *w, const float *packed, const nn_conv2d_t *d);
/* As nn_conv2d_forward and nn_conv2d_backward. */
void nn_winograd_forward(float *y, const float *x, const float *packed, const float *b,
                         const nn_conv2d_t *d, size_t n, float *scratch, const nn_kernels_t *k);
void nn_winograd_backward(float *dx, float *dpacked, const float *x, const float *dy,
                          const float *turned, const nn_conv2d_t *d, size_t n, float *scratch,
                          const nn_kernels_t *k);
