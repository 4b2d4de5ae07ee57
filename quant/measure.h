/* quant/measure.h: what logits and labels say about a model, and about two models on the same
 * pictures. Everything is a pure function of its arrays and computed in double; what cannot be
 * had, because there is nothing to divide by, is NaN. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    QUANT_TOP = 5,         /* top-5 accuracy */
    QUANT_ECE_BINS = 15,   /* of the expected calibration error */
    QUANT_ROC_POINTS = 201 /* most points of a curve */
};

/* What part of the others, and of the class, has at least a certain probability. */
typedef struct {
    double fpr, tpr;
} quant_roc_point_t;

/* One class against the rest. */
typedef struct {
    uint64_t samples; /* pictures of the class */
    uint64_t found;   /* of those, how many the model says are of it */
    uint64_t claimed; /* pictures that the model says are of it */
    double precision; /* found / claimed, NaN when none is claimed */
    double recall;    /* found / samples, NaN when there is none */
    double f1;        /* 2 found / (samples + claimed), NaN when both are 0 */
    double auc; /* area under the ROC curve, NaN without a picture of the class or of others */
    quant_roc_point_t *roc; /* (roc_count) the curve, in quant_measures_t.points */
    size_t roc_count;       /* 0 where auc is NaN, else 2 .. QUANT_ROC_POINTS */
} quant_class_t;

typedef struct {
    size_t samples, classes;
    double accuracy;  /* 0 .. 1: the largest logit is the label's; of equal ones the first counts */
    double top5;      /* 0 .. 1: it is among the five largest; NaN for five classes or fewer */
    double loss;      /* mean negative log-likelihood, natural logarithm */
    double ece;       /* expected calibration error, 0 .. 1 */
    double macro_f1;  /* mean over classes that occur among labels or answers */
    double macro_auc; /* mean over classes that have one; NaN when none has */
    quant_class_t *of;         /* (classes), owned */
    uint64_t *confusion;       /* (classes,classes) [truth][answer], owned */
    quant_roc_point_t *points; /* (classes, QUANT_ROC_POINTS), owned */
} quant_measures_t;

/*   in  logits (n,classes)
 *   in  labels (n) in 0 .. classes-1
 * Probabilities are the softmax of the logits.
 *   loss  mean of log(sum exp(logits)) - logits[label]
 *   ece   sum over bins of (pictures in it / n) |accuracy in it - mean confidence in it|, where a
 *         picture's confidence is its largest probability and bin m of M = 15 holds those in
 *         ((m-1)/M, m/M] (Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural
 *         Networks", equation 3)
 *   f1    and the others as sklearn.metrics.precision_recall_fscore_support
 *   auc   of the class's probability, the class against the rest: (R - p (p+1) / 2) / (p q) with p
 *         pictures of the class, q others, and R the sum of the former's ranks, equal ones having
 *         their average rank (Hanley and McNeil 1982; Fawcett 2006, section 7)
 *   roc   from (0,0) to (1,1), rising (Fawcett 2006, algorithm 1); corners alone, no point between
 *         two on one line. Of more than QUANT_ROC_POINTS corners some are left out: those that stay
 *         are about evenly apart in fpr + tpr, and no corner is farther than 0.01 from the curve
 *         through them
 * ERR_CONFIG: no picture; ERR_FORMAT, naming the picture, for a logit that is NaN or Inf. The
 * caller frees. */
err_t quant_measure(quant_measures_t *measures, const float *logits, const int32_t *labels,
                    size_t n, size_t classes);
void quant_measures_free(quant_measures_t *measures);

/* The class whose logit is largest, the first of equal ones. */
size_t quant_answer(const float *logits, size_t classes);

/* Two models on the same pictures. */
typedef struct {
    double agreement;                 /* 0 .. 1: pictures to which both give the same answer */
    uint64_t only_first, only_second; /* pictures that one of them alone has right */
    double p;                         /* McNemar's, exact */
} quant_pair_t;

/*   in  first, second (n,classes) logits;  in labels (n);  n >= 1 */
void quant_pair(quant_pair_t *pair, const float *first, const float *second, const int32_t *labels,
                size_t n, size_t classes);

/* McNemar's test in its exact form (McNemar 1947; Fagerland, Lydersen and Laake 2013): the
 * probability that n = b + c tosses of a fair coin are split at least as unevenly as b to c,
 *   min(1, 2 sum over k = 0 .. min(b,c) of C(n,k) / 2^n).
 * Exact for any count, so there is no chi-square beside it; 1 when b = c. */
double quant_mcnemar(uint64_t b, uint64_t c);
