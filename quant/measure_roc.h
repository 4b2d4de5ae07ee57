/* quant/measure_roc.h: softmax's probabilities and ROC curves, for quant/measure.c. */
#pragma once
#include <math.h>

#include "quant/measure.h"

/* Of one picture's logits: the largest, and the sum of exp(logit - largest) in the order of the
 * classes, in double. */
typedef struct {
    double largest, sum;
} quant_softmax_t;

quant_softmax_t quant_softmax(const float *logits, size_t classes);

static inline double quant_probability(const quant_softmax_t *softmax, float logit)
{
    return exp((double)logit - softmax->largest) / softmax->sum;
}

/* Fills auc, roc and roc_count of class `c`; `of->roc` has room for QUANT_ROC_POINTS.
 *   in  softmax (n) */
void quant_roc(quant_class_t *of, const float *logits, const int32_t *labels,
               const quant_softmax_t *softmax, size_t n, size_t classes, size_t c);
