/* quant/signal.h: where an integer model departs from the float model that it was made from: the
 * ratio of signal to noise of every layer. */
#pragma once
#include "data/batch.h"
#include "quant/integer.h"
#include "quant/tensors.h"

typedef struct {
    char layer[QUANT_TENSOR_TEXT]; /* "features.0.0", "addition behind features.3.conv.2" */
    double db; /* 10 log10(sum x^2 / sum (x - x')^2); infinite when nothing differs */
} quant_signal_t;

typedef struct {
    quant_signal_t *layers; /* (count), owned, in the order in which they run */
    size_t count;
    size_t worst;    /* the one with the lowest db, the first of equal ones */
    size_t pictures; /* that were looked at */
} quant_signals_t;

/* How many pictures to look at: the reference takes its time, so of large ones few. 1 .. 16. */
size_t quant_signal_pictures(const nn_net_t *net);
/* Every convolution, dense layer, addition and global pool, behind its activation: x is the float
 * model's tensor and x' the integer model's, dequantized, each having run the whole way from the
 * picture; over all elements of `count` pictures spread evenly over `set`, as
 * quant_integer_reference computes them.
 *   in  folded  float32 weights on a folded net of the list of `model`
 *   in  count   1 .. set->count
 * ERR_CONFIG: the two are not of one list; ERR_MEMORY; ERR_REFUSED when interrupted. The caller
 * frees. */
err_t quant_signals_measure(quant_signals_t *signals, const nn_state_t *folded,
                            const quant_integer_t *model, const data_set_t *set, size_t count,
                            const volatile bool *interrupted);
void quant_signals_free(quant_signals_t *signals);
