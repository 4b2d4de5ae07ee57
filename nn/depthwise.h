/* nn/depthwise.h: depthwise 3x3 convolutions with padding 1 on their own: block by block of
 * channels through the kernels that inverted residuals use (kernels.h). What layers_conv.c does
 * with them. */
#pragma once
#include "nn/kernels.h"
#include "nn/layers.h"

bool nn_depthwise_suits(const nn_conv2d_t *d);
/* Floats. */
size_t nn_depthwise_scratch(const nn_conv2d_t *d);
/* One picture; arguments as nn_conv2d_forward's and nn_conv2d_backward's (dx may be NULL), packed
 * is (9,C). */
void nn_depthwise_forward(float *y, const float *x, const float *packed, const float *b,
                          const nn_conv2d_t *d, float *scratch, const nn_kernels_t *k);
void nn_depthwise_backward(float *dx, float *dpacked, const float *x, const float *dy,
                           const float *packed, const nn_conv2d_t *d, float *scratch,
                           const nn_kernels_t *k);
