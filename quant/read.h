/* quant/read.h: files of floats, folded or not, back to float32. */
#pragma once
#include "nn/safetensors.h"
#include "quant/quant.h"

/* Makes `state` on `net` (a folded one) from a folded file in fp32 or fp16; checks every tensor's
 * presence, dtype and shape, that no other tensor is there, and only then takes memory; then that
 * all is finite. ERR_FORMAT messages name file and tensor. The caller frees the state with
 * nn_state_free, after failures as well. */
err_t quant_read(nn_state_t *state, const nn_net_t *net, const safetensors_t *file,
                 quant_precision_t precision);

/* A model file whose weights are floats, fp32 (native or folded) or fp16, widened to float32; net
 * and state are the folded ones where the file is folded. ERR_IO, ERR_FORMAT. The caller frees with
 * nn_model_free; after a failure nothing is left to free. */
err_t quant_load(nn_model_t *model, const char *path);
