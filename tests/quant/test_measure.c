/* Accuracy, loss, curves and tests against scikit-learn's and scipy's figures. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/measure.h"
#include "tests/support/harness.h"

enum { CASES = 10, PAIRS = 13 };

static double next_number(FILE *file)
{
    char text[64];
    assert_int_equal(fscanf(file, "%63s", text), 1);
    return strtod(text, NULL);
}

/* Both NaN, or within 1e-12 of each other, relative above 1. */
static void check(const char *name, const char *what, size_t c, double value, double expected)
{
    if (isnan(expected) ? isnan(value) : fabs(value - expected) <= 1e-12 * fmax(1, fabs(expected)))
        return;
    fail_msg("%s: %s of class %zu is %.17g, the file says %.17g", name, what, c, value, expected);
}

static void check_class(FILE *file, const char *name, const quant_class_t *of, size_t c)
{
    check(name, "samples", c, (double)of->samples, next_number(file));
    check(name, "precision", c, of->precision, next_number(file));
    check(name, "recall", c, of->recall, next_number(file));
    check(name, "f1", c, of->f1, next_number(file));
    check(name, "auc", c, of->auc, next_number(file));
    check(name, "points", c, (double)of->roc_count, next_number(file));
    for (size_t i = 0; i < of->roc_count; i++) {
        check(name, "fpr", c, of->roc[i].fpr, next_number(file));
        check(name, "tpr", c, of->roc[i].tpr, next_number(file));
    }
}

static void check_case(FILE *file)
{
    char name[64];
    size_t n, classes;
    quant_measures_t m;
    assert_int_equal(fscanf(file, " case %63s %zu %zu", name, &n, &classes), 3);
    float *logits = xcalloc(n * classes, sizeof *logits);
    int32_t *labels = xcalloc(n, sizeof *labels);
    for (size_t i = 0; i < n; i++) {
        labels[i] = (int32_t)next_number(file);
        for (size_t c = 0; c < classes; c++)
            logits[i * classes + c] = (float)next_number(file);
    }
    assert_ok(quant_measure(&m, logits, labels, n, classes));
    check(name, "accuracy", 0, m.accuracy, next_number(file));
    check(name, "top5", 0, m.top5, next_number(file));
    check(name, "loss", 0, m.loss, next_number(file));
    check(name, "ece", 0, m.ece, next_number(file));
    check(name, "macro f1", 0, m.macro_f1, next_number(file));
    check(name, "macro auc", 0, m.macro_auc, next_number(file));
    for (size_t c = 0; c < classes; c++)
        check_class(file, name, &m.of[c], c);
    for (size_t k = 0; k < classes * classes; k++)
        check(name, "confusion", k / classes, (double)m.confusion[k], next_number(file));
    quant_measures_free(&m);
    free(labels);
    free(logits);
}

static void figures_are_those_of_scikit_learn(void **unused)
{
    (void)unused;
    FILE *file = fopen(GOLDEN_DIR "/measure.txt", "r");
    assert_non_null(file);
    for (size_t i = 0; i < CASES; i++)
        check_case(file);
    char word[16];
    assert_int_equal(fscanf(file, "%15s", word), 1);
    assert_string_equal(word, "mcnemar");
    for (size_t i = 0; i < PAIRS; i++) {
        double b = next_number(file), c = next_number(file), expected = next_number(file);
        double p = quant_mcnemar((uint64_t)b, (uint64_t)c);
        if (fabs(p - expected) > 1e-9 * expected)
            fail_msg("McNemar's p of %g to %g is %.17g, scipy says %.17g", b, c, p, expected);
    }
    assert_int_equal(fscanf(file, "%15s", word), EOF);
    fclose(file);
}

/* Of (fpr, tpr) from the curve. */
static double distance(const quant_class_t *of, double fpr, double tpr)
{
    double least = 2;
    for (size_t i = 1; i < of->roc_count; i++) {
        quant_roc_point_t a = of->roc[i - 1], b = of->roc[i];
        double x = b.fpr - a.fpr, y = b.tpr - a.tpr;
        double along = ((fpr - a.fpr) * x + (tpr - a.tpr) * y) / (x * x + y * y);
        double t = fmax(0, fmin(1, along));
        least = fmin(least, hypot(a.fpr + t * x - fpr, a.tpr + t * y - tpr));
    }
    return least;
}

static int falling(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Two classes of noise: some thousand corners, of which the capped curve keeps what matters. */
static void long_curves_are_capped_and_keep_their_shape(void **unused)
{
    (void)unused;
    enum { N = 6000 };
    static float logits[2 * N], scores[N];
    static int32_t labels[N];
    quant_measures_t m;
    rng_t rng = test_rng(1);
    for (size_t i = 0; i < N; i++) {
        labels[i] = (int32_t)rng_below(&rng, 2);
        logits[2 * i] = 0;
        logits[2 * i + 1] = (float)(rng_normal(&rng) + labels[i]);
        scores[i] = logits[2 * i + 1];
    }
    assert_ok(quant_measure(&m, logits, labels, N, 2));
    const quant_class_t *of = &m.of[1];
    assert_true(of->roc_count > QUANT_ROC_POINTS / 2 && of->roc_count <= QUANT_ROC_POINTS);
    assert_true(of->roc[0].fpr == 0 && of->roc[0].tpr == 0);
    assert_true(of->roc[of->roc_count - 1].fpr == 1 && of->roc[of->roc_count - 1].tpr == 1);
    for (size_t i = 1; i < of->roc_count; i++)
        assert_true(of->roc[i].fpr >= of->roc[i - 1].fpr && of->roc[i].tpr >= of->roc[i - 1].tpr);
    qsort(scores, N, sizeof *scores, falling);
    for (size_t k = 0; k < N; k += 37) {
        double others = 0, found = 0;
        for (size_t i = 0; i < N; i++)
            if (logits[2 * i + 1] >= scores[k])
                *(labels[i] ? &found : &others) += 1;
        found /= (double)of->samples;
        others /= (double)(N - of->samples);
        if (distance(of, others, found) > 0.01)
            fail_msg("(%g, %g) is far from the capped curve", others, found);
    }
    quant_measures_free(&m);
}

static void two_models_are_paired_picture_by_picture(void **unused)
{
    (void)unused;
    /* answers: first 0 1 2 0 1, second 0 2 2 1 2; labels 0 1 2 1 2 */
    static const float first[] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0};
    static const float second[] = {9, 0, 0, 0, 0, 1, 0, 0, 2, 0, 1, 0, 0, 0, 3};
    static const int32_t labels[] = {0, 1, 2, 1, 2};
    quant_pair_t pair;
    quant_pair(&pair, first, second, labels, 5, 3);
    assert_true(fabs(pair.agreement - 0.4) < 1e-12);
    assert_int_equal(pair.only_first, 1);
    assert_int_equal(pair.only_second, 2);
    assert_true(pair.p == 1.0);
    quant_pair(&pair, first, first, labels, 5, 3);
    assert_true(pair.agreement == 1 && pair.p == 1);
    assert_int_equal(pair.only_first + pair.only_second, 0);
}

static void what_is_no_number_is_refused(void **unused)
{
    (void)unused;
    float logits[] = {0, 1, 2, 3, NAN, 5};
    static const int32_t labels[] = {0, 1};
    quant_measures_t m;
    assert_fails(quant_measure(&m, logits, labels, 0, 3), ERR_CONFIG,
                 "there are no pictures to measure the model on");
    assert_fails(quant_measure(&m, logits, labels, 2, 3), ERR_FORMAT,
                 "picture 1: the logit of class 1 is nan: the model's weights are too large to "
                 "compute with, or damaged");
    logits[4] = -INFINITY;
    assert_int_equal(quant_measure(&m, logits, labels, 2, 3), ERR_FORMAT);
    quant_measures_free(&m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(figures_are_those_of_scikit_learn),
    cmocka_unit_test(long_curves_are_capped_and_keep_their_shape),
    cmocka_unit_test(two_models_are_paired_picture_by_picture),
    cmocka_unit_test(what_is_no_number_is_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
