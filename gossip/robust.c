#include "gossip/robust.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256 }; /* coordinates at a time */

size_t gossip_robust_models(gossip_robust_t robust, size_t hostile)
{
    if (robust == GOSSIP_ROBUST_NONE)
        return 1;
    return 2 * hostile + (robust == GOSSIP_ROBUST_KRUM ? 3 : 1);
}

static void keep_own(float *out, const gossip_mixing_t *in)
{
    memcpy(out, in->parts[in->self].values, in->table->floats * sizeof *out);
}

/* ||a - b||^2 over weights: differences first, since norms and products cancel. */
static double squared_distance(const float *a, const float *b, const gossip_table_t *table)
{
    double sum = 0.0;
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (segment->kind != GOSSIP_WEIGHTS)
            continue;
        for (size_t i = segment->offset; i < segment->offset + segment->count; i++) {
            double difference = (double)a[i] - (double)b[i];
            sum += difference * difference;
        }
    }
    return sum;
}

/* -- Per coordinate: trimmed mean and median -- */

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Few values are the rule: neighbours of a sparse graph. */
static void sort_values(double *values, size_t count)
{
    if (count > 32) {
        qsort(values, count, sizeof *values, by_value);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        double value = values[i];
        size_t at = i;
        for (; at > 0 && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
}

/* Mean of the sorted values without `cut` at either end. 2 cut < count. */
static double trimmed_mean(const double *sorted, size_t count, size_t cut)
{
    double sum = 0.0;
    for (size_t k = cut; k < count - cut; k++)
        sum += sorted[k];
    return sum / (double)(count - 2 * cut);
}

/* The median is the mean that leaves one or two. */
static size_t median_cut(size_t count)
{
    return (count - 1) / 2;
}

static float to_float(double value)
{
    return value > (double)FLT_MAX ? FLT_MAX : (float)value;
}

/* One segment. `values` (BLOCK, count) is scratch. */
static void trim_segment(float *out, const gossip_mixing_t *in, const gossip_segment_t *segment,
                         size_t cut, double *values)
{
    size_t m = in->count;
    const gossip_segment_t *paired =
        segment->kind == GOSSIP_VARIANCE ? gossip_mean_of(in->table, segment) : NULL;
    for (size_t at = 0; at < segment->count; at += BLOCK) {
        size_t n = segment->count - at < BLOCK ? segment->count - at : BLOCK;
        double mean[BLOCK];
        for (size_t k = 0; paired && k < m; k++)
            for (size_t i = 0; i < n; i++)
                values[i * m + k] = (double)in->parts[k].values[paired->offset + at + i];
        for (size_t i = 0; paired && i < n; i++) {
            sort_values(values + i * m, m);
            mean[i] = trimmed_mean(values + i * m, m, cut);
        }
        for (size_t k = 0; k < m; k++) {
            const float *model = in->parts[k].values;
            for (size_t i = 0; i < n; i++) {
                double value = (double)model[segment->offset + at + i];
                double apart = paired ? (double)model[paired->offset + at + i] - mean[i] : 0.0;
                values[i * m + k] = value + apart * apart;
            }
        }
        for (size_t i = 0; i < n; i++) {
            sort_values(values + i * m, m);
            out[segment->offset + at + i] = to_float(trimmed_mean(values + i * m, m, cut));
        }
    }
}

/* All segments, or the statistics alone. */
static void trim(float *out, const gossip_mixing_t *in, size_t cut, bool statistics_alone)
{
    double *values = xcalloc(in->count * BLOCK, sizeof *values);
    for (size_t s = 0; s < in->table->count; s++)
        if (!statistics_alone || in->table->segments[s].kind != GOSSIP_WEIGHTS)
            trim_segment(out, in, &in->table->segments[s], cut, values);
    free(values);
}

static size_t mix_trimmed(float *out, const gossip_mixing_t *in)
{
    if (in->count < gossip_robust_models(GOSSIP_ROBUST_TRIMMED, in->hostile))
        keep_own(out, in);
    else
        trim(out, in, in->hostile, false);
    return 0;
}

static size_t mix_median(float *out, const gossip_mixing_t *in)
{
    if (in->count < gossip_robust_models(GOSSIP_ROBUST_MEDIAN, in->hostile))
        keep_own(out, in);
    else
        trim(out, in, median_cut(in->count), false);
    return 0;
}

/* -- Clipped gossip -- */

typedef struct {
    double squared, weight;
    size_t part;
} near_t;

static int by_distance(const void *left, const void *right)
{
    const near_t *a = left, *b = right;
    if (a->squared != b->squared)
        return a->squared < b->squared ? -1 : 1;
    return (a->part > b->part) - (a->part < b->part);
}

double gossip_clip_radius(const gossip_mixing_t *in, const double *squared)
{
    if (in->clip > 0.0)
        return in->clip;
    size_t n = 0;
    near_t *others = xcalloc(in->count, sizeof *others);
    double *weights = xcalloc(in->count, sizeof *weights);
    double delta = 0.0, dropped = 0.0, sum = 0.0;
    for (size_t k = 0; k < in->count; k++)
        if (k != in->self) {
            weights[n] = in->parts[k].weight;
            others[n++] = (near_t){squared[k], in->parts[k].weight, k};
        }
    sort_values(weights, n);
    for (size_t k = 0; k < in->hostile && k < n; k++)
        delta += weights[n - 1 - k];
    qsort(others, n, sizeof *others, by_distance);
    /* From the farthest inward: who fits into delta is left out of S. */
    for (size_t k = n; k-- > 0;) {
        if (dropped + others[k].weight <= delta * (1 + 1e-12))
            dropped += others[k].weight;
        else
            sum += others[k].weight * others[k].squared;
    }
    free(others);
    free(weights);
    return delta > 0.0 ? sqrt(sum / delta) : 0.0;
}

/* Clipping x_j - x_i by c_j is mixing with W_ij c_j and the rest for oneself. */
static size_t mix_clipped(float *out, const gossip_mixing_t *in)
{
    size_t count = 0;
    for (size_t k = 0; k < in->count; k++)
        count += k == in->self || in->parts[k].weight > 0;
    if (count < gossip_robust_models(GOSSIP_ROBUST_CLIPPED, in->hostile)) {
        keep_own(out, in);
        return 0;
    }
    gossip_part_t *parts = xcalloc(in->count, sizeof *parts);
    double *squared = xcalloc(in->count, sizeof *squared), rest = 1.0;
    size_t clipped = 0;
    const float *own = in->parts[in->self].values;
    for (size_t k = 0; k < in->count; k++)
        if (k != in->self && in->parts[k].weight > 0)
            squared[k] = squared_distance(own, in->parts[k].values, in->table);
    double tau = gossip_clip_radius(in, squared);
    memcpy(parts, in->parts, in->count * sizeof *parts);
    for (size_t k = 0; k < in->count; k++) {
        double distance = sqrt(squared[k]);
        if (k == in->self)
            continue;
        if (distance > tau) {
            parts[k].weight *= tau / distance;
            clipped++;
        }
        rest -= parts[k].weight;
    }
    parts[in->self].weight = rest;
    gossip_mix(out, parts, in->count, in->table);
    trim(out, in, in->hostile, true);
    free(parts);
    free(squared);
    return clipped;
}

/* -- Krum -- */

/* Sum of the `nearest` least squared distances of model k. `row` (count) is scratch. */
static double score(const double *squared, size_t k, size_t count, size_t nearest, double *row)
{
    size_t n = 0;
    double sum = 0.0;
    for (size_t j = 0; j < count; j++)
        if (j != k)
            row[n++] = squared[k * count + j];
    sort_values(row, n);
    for (size_t j = 0; j < nearest; j++)
        sum += row[j];
    return sum;
}

static size_t mix_krum(float *out, const gossip_mixing_t *in)
{
    size_t m = in->count, chosen = 0;
    if (m < gossip_robust_models(GOSSIP_ROBUST_KRUM, in->hostile)) {
        keep_own(out, in);
        return m - 1;
    }
    double *squared = xcalloc(m * m, sizeof *squared), *row = xcalloc(m, sizeof *row);
    double least = HUGE_VAL;
    for (size_t k = 0; k < m; k++)
        for (size_t j = 0; j < k; j++)
            squared[k * m + j] = squared[j * m + k] =
                squared_distance(in->parts[k].values, in->parts[j].values, in->table);
    for (size_t k = 0; k < m; k++) {
        double sum = score(squared, k, m, m - in->hostile - 2, row);
        if (sum < least) {
            least = sum;
            chosen = k;
        }
    }
    memcpy(out, in->parts[chosen].values, in->table->floats * sizeof *out);
    trim(out, in, in->hostile, true); /* weights near the others' vouch for no statistics */
    free(squared);
    free(row);
    return m - 1 - (chosen != in->self);
}

const gossip_algorithm_t gossip_clipped = {.name = "clipped", .mix = mix_clipped};
const gossip_algorithm_t gossip_trimmed = {.name = "trimmed", .mix = mix_trimmed};
const gossip_algorithm_t gossip_median = {.name = "median", .mix = mix_median};
const gossip_algorithm_t gossip_krum = {.name = "krum", .mix = mix_krum};
