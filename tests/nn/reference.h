/* tests/nn/reference.h: the list of operations walked as it stands, in double and with the plainest
 * loops: what plans are held against. */
#pragma once
#include "nn/net.h"

/* Forward with batch statistics (`training`) or the running ones; x (n,H,W,C).
 *   out logits (n,classes)
 *   in  values (float_count), mask: of the net's dropout, NULL for none */
void reference_forward(double *logits, const nn_net_t *net, const double *values, const float *x,
                       size_t n, bool training, const float *mask);
enum { REFERENCE_TENSORS = 64 };
/* The derivative of FAKE_QUANT is 0 nearly everywhere; straight through, it is that of clamping.
 * While held, it clamps and adds what rounding added in the last call before, so that differences
 * show that. False lets go and frees. */
void reference_hold(bool hold);
/* Mean cross-entropy of that. */
double reference_loss(const nn_net_t *net, const double *values, const float *x,
                      const int32_t *labels, size_t n, const float *mask);
