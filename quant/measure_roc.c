/* ROC curves and the areas under them. */
#include "quant/measure_roc.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct {
    double score;
    uint32_t positive;
} scored_t;

/* Falling. */
static int compare_scores(const void *a, const void *b)
{
    double x = ((const scored_t *)a)->score, y = ((const scored_t *)b)->score;
    return (x < y) - (x > y);
}

/* A place on the curve, in pictures. */
typedef struct {
    uint64_t others, found;
} corner_t;

/* True when `b` lies on the line from `a` to `c`. */
static bool between(const corner_t *a, const corner_t *b, const corner_t *c)
{
    return (b->others - a->others) * (c->found - b->found) ==
           (b->found - a->found) * (c->others - b->others);
}

/* (0,0), and one place behind each run of equal scores, but for those on a line between two.
 *   out corners (n + 1);  in scored (n), falling;  returns how many there are */
static size_t find_corners(corner_t *corners, const scored_t *scored, size_t n)
{
    size_t count = 1;
    corner_t at = {0};
    corners[0] = at;
    for (size_t i = 0; i < n; i++) {
        at.found += scored[i].positive;
        at.others += 1 - scored[i].positive;
        if (i + 1 < n && !compare_scores(&scored[i], &scored[i + 1]))
            continue;
        if (count >= 2 && between(&corners[count - 2], &corners[count - 1], &at))
            count--;
        corners[count++] = at;
    }
    return count;
}

/* Trapezoids: what average ranks of equal scores come to. In pictures, halves at most, so exact. */
static double area_under(const corner_t *corners, size_t count)
{
    const corner_t *last = &corners[count - 1];
    double area = 0;
    for (size_t i = 1; i < count; i++)
        area += 0.5 * (double)(corners[i].others - corners[i - 1].others) *
                (double)(corners[i].found + corners[i - 1].found);
    return area / ((double)last->others * (double)last->found);
}

static size_t thin_out(quant_roc_point_t *points, const corner_t *corners, size_t count)
{
    const corner_t *last = &corners[count - 1];
    /* The way from (0,0) to (1,1) is 2 long in fpr + tpr, whatever the curve. */
    double apart = count > QUANT_ROC_POINTS ? 2.0 / (QUANT_ROC_POINTS - 1) : 0.0;
    size_t k = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        quant_roc_point_t p = {(double)corners[i].others / (double)last->others,
                               (double)corners[i].found / (double)last->found};
        if (k && p.fpr + p.tpr - points[k - 1].fpr - points[k - 1].tpr < apart)
            continue;
        if (k + 1 < QUANT_ROC_POINTS)
            points[k++] = p;
    }
    points[k++] = (quant_roc_point_t){1, 1};
    return k;
}

void quant_roc(quant_class_t *of, const float *logits, const int32_t *labels,
               const quant_softmax_t *softmax, size_t n, size_t classes, size_t c)
{
    scored_t *scored = xcalloc(n, sizeof *scored);
    corner_t *corners = xcalloc(n + 1, sizeof *corners);
    for (size_t i = 0; i < n; i++)
        scored[i] = (scored_t){quant_probability(&softmax[i], logits[i * classes + c]),
                               (uint32_t)((size_t)labels[i] == c)};
    qsort(scored, n, sizeof *scored, compare_scores);
    size_t count = find_corners(corners, scored, n);
    of->auc = (double)NAN;
    of->roc_count = 0;
    if (corners[count - 1].found && corners[count - 1].others) {
        of->auc = area_under(corners, count);
        of->roc_count = thin_out(of->roc, corners, count);
    }
    free(corners);
    free(scored);
}
