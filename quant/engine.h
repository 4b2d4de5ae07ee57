/* quant/engine.h: the integer engine: a plan of fused integer steps over the list of a
 * quant_integer_t, weights packed once, kernels chosen by CPU level: c, avx2, avxvnni, avx512 and
 * vnni (that is AVX-512 VNNI; a CPU with AMX runs vnni's). Every level and every number of threads
 * gives the same bits, those of quant_integer_reference. */
#pragma once
#include "quant/integer.h"

typedef struct quant_engine_s quant_engine_t;

/* For batches of up to `batch`; `model` has passed quant_integer_check and outlives the engine.
 * ERR_CONFIG for a list that no plan can be made of. The caller destroys. Allocates here and
 * nowhere else. */
err_t quant_engine_new(quant_engine_t **engine, const quant_integer_t *model, size_t batch,
                       int threads);
void quant_engine_destroy(quant_engine_t **engine);
/*   out logits (n,classes)
 *   in  x (n,H,W,3) float32, normalised; 1 <= n <= batch */
void quant_engine_run(quant_engine_t *engine, float *logits, const float *x, size_t n);
/* "avx2", "vnni" and so on: the kernels in use. */
const char *quant_engine_level(const quant_engine_t *engine);
