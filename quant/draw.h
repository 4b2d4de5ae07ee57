/* quant/draw.h: integer models of random weights, to measure and to test the engine with. */
#pragma once
#include "base/rng.h"
#include "quant/integer.h"

/* A model on the folded net of `arch`: weights of every value, a few channels of all zeros or all
 * +-127 (less in layers of so many inputs that sums would leave int32), scales such that what each
 * layer writes spreads over 0 .. 255 and some of it is clamped. It has passed quant_integer_check.
 * ERR_CONFIG as nn_net_new. The caller frees. */
err_t quant_draw(quant_integer_t *model, const nn_arch_t *arch, rng_t *rng);
