/* Accuracy, top-5, loss, calibration error, confusion, figures of each class. */
#include "quant/measure.h"

#include <math.h>
#include <stdlib.h>

#include "quant/measure_roc.h"

size_t quant_answer(const float *logits, size_t classes)
{
    size_t best = 0;
    for (size_t c = 1; c < classes; c++)
        if (logits[c] > logits[best])
            best = c;
    return best;
}

quant_softmax_t quant_softmax(const float *logits, size_t classes)
{
    quant_softmax_t s = {(double)logits[quant_answer(logits, classes)], 0};
    for (size_t c = 0; c < classes; c++)
        s.sum += exp((double)logits[c] - s.largest);
    return s;
}

static err_t check_logits(const float *logits, size_t n, size_t classes)
{
    err_t err = ERR_OK;
    if (n == 0)
        FAIL(ERR_CONFIG, "there are no pictures to measure the model on");
    for (size_t i = 0; i < n * classes; i++)
        if (!isfinite(logits[i]))
            FAIL(ERR_FORMAT,
                 "picture %zu: the logit of class %zu is %g: the model's weights are too large to "
                 "compute with, or damaged",
                 i / classes, i % classes, (double)logits[i]);
out:
    return err;
}

/* How many classes stand ahead of `label`: larger logits, and equal ones of a lower index. */
static size_t rank_of(const float *logits, size_t classes, size_t label)
{
    size_t rank = 0;
    for (size_t c = 0; c < classes; c++)
        rank += (size_t)(logits[c] > logits[label] || (logits[c] == logits[label] && c < label));
    return rank;
}

typedef struct {
    double confidence;
    uint64_t right;
} bin_t;

/* The bin ((m-1)/M, m/M] as m - 1. */
static size_t bin_of(double confidence)
{
    size_t bin = (size_t)fmax(0, ceil(confidence * QUANT_ECE_BINS) - 1);
    return bin < QUANT_ECE_BINS ? bin : QUANT_ECE_BINS - 1;
}

static void count_pictures(quant_measures_t *m, const float *logits, const int32_t *labels,
                           const quant_softmax_t *softmax)
{
    bin_t bins[QUANT_ECE_BINS] = {0};
    uint64_t right = 0, among = 0;
    for (size_t i = 0; i < m->samples; i++) {
        const float *x = logits + i * m->classes;
        size_t label = (size_t)labels[i], answer = quant_answer(x, m->classes);
        double confidence = quant_probability(&softmax[i], x[answer]);
        bin_t *bin = &bins[bin_of(confidence)];
        m->confusion[label * m->classes + answer]++;
        right += (uint64_t)(answer == label);
        among += (uint64_t)(rank_of(x, m->classes, label) < QUANT_TOP);
        m->loss += softmax[i].largest + log(softmax[i].sum) - (double)x[label];
        bin->confidence += confidence;
        bin->right += (uint64_t)(answer == label);
    }
    /* (in bin / n) |right / in bin - confidence / in bin| */
    for (size_t b = 0; b < QUANT_ECE_BINS; b++)
        m->ece += fabs((double)bins[b].right - bins[b].confidence) / (double)m->samples;
    m->loss /= (double)m->samples;
    m->accuracy = (double)right / (double)m->samples;
    m->top5 = m->classes > QUANT_TOP ? (double)among / (double)m->samples : (double)NAN;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : (double)NAN;
}

/* Mean of those of `values` (n, `stride` bytes apart) that are numbers. */
static double mean_of_numbers(const double *values, size_t n, size_t stride)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        double value = *(const double *)((const char *)values + i * stride);
        if (!isnan(value)) {
            sum += value;
            count++;
        }
    }
    return count ? sum / (double)count : (double)NAN;
}

static void describe_classes(quant_measures_t *m, const float *logits, const int32_t *labels,
                             const quant_softmax_t *softmax)
{
    for (size_t c = 0; c < m->classes; c++) {
        quant_class_t *of = &m->of[c];
        of->found = m->confusion[c * m->classes + c];
        for (size_t k = 0; k < m->classes; k++) {
            of->samples += m->confusion[c * m->classes + k];
            of->claimed += m->confusion[k * m->classes + c];
        }
        of->precision = share(of->found, of->claimed);
        of->recall = share(of->found, of->samples);
        of->f1 = share(2 * of->found, of->samples + of->claimed);
        of->roc = m->points + c * QUANT_ROC_POINTS;
        quant_roc(of, logits, labels, softmax, m->samples, m->classes, c);
    }
    m->macro_f1 = mean_of_numbers(&m->of[0].f1, m->classes, sizeof *m->of);
    m->macro_auc = mean_of_numbers(&m->of[0].auc, m->classes, sizeof *m->of);
}

err_t quant_measure(quant_measures_t *measures, const float *logits, const int32_t *labels,
                    size_t n, size_t classes)
{
    err_t err = ERR_OK;
    quant_softmax_t *softmax = NULL;
    *measures = (quant_measures_t){.samples = n, .classes = classes};
    TRY(check_logits(logits, n, classes));
    measures->of = xcalloc(classes, sizeof *measures->of);
    measures->confusion = xcalloc(classes * classes, sizeof *measures->confusion);
    measures->points = xcalloc(classes * QUANT_ROC_POINTS, sizeof *measures->points);
    softmax = xcalloc(n, sizeof *softmax);
    for (size_t i = 0; i < n; i++)
        softmax[i] = quant_softmax(logits + i * classes, classes);
    count_pictures(measures, logits, labels, softmax);
    describe_classes(measures, logits, labels, softmax);
out:
    free(softmax);
    return err;
}

void quant_measures_free(quant_measures_t *measures)
{
    free(measures->of);
    free(measures->confusion);
    free(measures->points);
    *measures = (quant_measures_t){0};
}
