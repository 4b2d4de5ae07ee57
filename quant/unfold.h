/* quant/unfold.h: a folded model with BatchNorms again, so that it runs as fast as one that has its
 * own: the fused steps of nn/plan.h begin at BatchNorms. */
#pragma once
#include "nn/model_file.h"

/* Puts `model`, on a folded net, on the net that its metadata names: with the folded weights, and
 * BatchNorms that add no more than the folded bias where the convolution has no place for one.
 * Their variance is 1 - epsilon, whose scale is 1 in float32: every product and sum is the folded
 * one. Does nothing when the net has not been folded. ERR_CONFIG, ERR_MEMORY; `model` is as it was
 * then. */
err_t quant_unfold(nn_model_t *model);
