/* quant/fold.h: BatchNorm folded into the convolution (or dense layer) ahead of it. */
#pragma once
#include "nn/net.h"

/* The same list without its BATCH_NORMs: each layer that one followed has a bias and writes the
 * tensor that the BATCH_NORM wrote. Knows no architecture by name. ERR_CONFIG when a BATCH_NORM
 * cannot be folded: it follows no convolution or dense layer, or others read that one's output
 * too. The caller destroys. */
err_t quant_fold_net(nn_net_t **folded, const nn_net_t *net);

/* Fills `folded` (initialised on quant_fold_net's net of state->net), in double:
 *   g = gamma / sqrt(var + epsilon),  w' = w g,  b' = beta + (b - mean) g
 * ERR_FORMAT, naming the tensor, when an element of `state` or of what comes out is NaN or Inf. */
err_t quant_fold_state(nn_state_t *folded, const nn_state_t *state);

/* The way back of quant_fold_state, with statistics taken for constants: from the gradient of the
 * folded values that of `state`'s,
 *   dw = dw' g,  db = db' g,  dbeta = db',  dgamma = (sum dw' w + db' (b - mean)) / sqrt(var + eps)
 *   out gradient (state->net->float_count), 0 for statistics
 *   in  folded_gradient, laid out as quant_fold_net's net `folded` */
void quant_fold_gradient(float *gradient, const nn_state_t *state, const float *folded_gradient,
                         const nn_net_t *folded);

/* ERR_FORMAT, naming the tensor, when an element is NaN or Inf. */
err_t quant_check_finite(const nn_state_t *state);
/* ERR_CONFIG, naming it, when a BatchNorm has no statistics: means 0, variances 1 and counter 0, as
 * the first model has them. What is folded from such a model has little to do with what it was
 * trained as. */
err_t quant_check_statistics(const nn_state_t *state);
