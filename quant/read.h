/* quant/read.h: folded files back to float32. */
#pragma once
#include "nn/safetensors.h"
#include "quant/quant.h"

/* Makes `state` on `net` (a folded one) from a folded file in `precision`; checks every tensor's
 * presence, dtype and shape, that no other tensor is there, and only then takes memory; then that
 * all is finite, scales are above 0, int8 within -127 .. 127. ERR_FORMAT messages name file and
 * tensor. The caller frees the state with nn_state_free, after failures as well. */
err_t quant_read(nn_state_t *state, const nn_net_t *net, const safetensors_t *file,
                 quant_precision_t precision);
