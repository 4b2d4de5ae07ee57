#include "gossip/mix.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "gossip/mix_kernels.h"

enum { BLOCK = 1024 };

void gossip_weights(double *weights, const uint64_t *samples, const uint64_t *reach, size_t parts,
                    size_t self)
{
    double sum = 0.0;
    uint64_t common = reach[self], heard = 0;
    bool same = true;
    for (size_t k = 0; k < parts; k++) {
        if (k == self)
            continue;
        uint64_t larger = reach[k] > reach[self] ? reach[k] : reach[self];
        weights[k] = (double)samples[k] / (double)larger;
        sum += weights[k];
        same = same && larger == common;
        heard += samples[k];
    }
    weights[self] = same && heard <= common ? (double)(common - heard) / (double)common : 1.0 - sum;
}

/* Adds sum W (mean_j - mean)^2 to the weighted variances: the centred form. */
static void add_spread(double *variance, const double *mean, const gossip_part_t *parts,
                       size_t count, size_t mean_offset, size_t n)
{
    for (size_t k = 0; k < count; k++) {
        const float *values = parts[k].values + mean_offset;
        double weight = parts[k].weight;
        for (size_t i = 0; i < n; i++) {
            double apart = (double)values[i] - mean[i];
            variance[i] += weight * apart * apart;
        }
    }
}

const gossip_segment_t *gossip_mean_of(const gossip_table_t *table,
                                       const gossip_segment_t *variance)
{
    for (size_t s = 0; s < table->count; s++)
        if (table->segments[s].kind == GOSSIP_MEAN && table->segments[s].group == variance->group)
            return &table->segments[s];
    return NULL;
}

static void mix_segment(float *out, const gossip_part_t *parts, size_t count,
                        const gossip_table_t *table, const gossip_segment_t *segment)
{
    const mix_kernels_t *kernels = mix_kernels();
    double sum[BLOCK], mean[BLOCK];
    const gossip_segment_t *paired =
        segment->kind == GOSSIP_VARIANCE ? gossip_mean_of(table, segment) : NULL;
    for (size_t at = 0; at < segment->count; at += BLOCK) {
        size_t n = segment->count - at < BLOCK ? segment->count - at : BLOCK;
        kernels->weighted(sum, parts, count, segment->offset + at, n);
        if (paired) {
            kernels->weighted(mean, parts, count, paired->offset + at, n);
            add_spread(sum, mean, parts, count, paired->offset + at, n);
            for (size_t i = 0; i < n; i++) /* finite means far apart */
                sum[i] = sum[i] < (double)FLT_MAX ? sum[i] : (double)FLT_MAX;
        }
        kernels->narrow(out + segment->offset + at, sum, n);
    }
}

void gossip_mix(float *out, const gossip_part_t *parts, size_t count, const gossip_table_t *table)
{
    /* Variances first: they need the means as they came, also when `out` is one of the inputs. */
    for (size_t s = 0; s < table->count; s++)
        if (table->segments[s].kind == GOSSIP_VARIANCE)
            mix_segment(out, parts, count, table, &table->segments[s]);
    for (size_t s = 0; s < table->count; s++)
        if (table->segments[s].kind != GOSSIP_VARIANCE)
            mix_segment(out, parts, count, table, &table->segments[s]);
}

double gossip_distance(const float *a, const float *b, const gossip_table_t *table)
{
    double apart = 0.0, norm = 0.0;
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        if (segment->kind != GOSSIP_WEIGHTS)
            continue;
        mix_kernels()->apart(&apart, &norm, a + segment->offset, b + segment->offset,
                             segment->count);
    }
    return apart == 0.0 ? 0.0 : norm == 0.0 ? HUGE_VAL : sqrt(apart / norm);
}

bool gossip_values_ok(const float *values, const gossip_table_t *table)
{
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        const float *at = values + segment->offset;
        bool ok = true;
        for (size_t i = 0; i < segment->count; i++)
            ok &= isfinite(at[i]) && (segment->kind != GOSSIP_VARIANCE || at[i] >= 0.0f);
        if (!ok)
            return false;
    }
    return true;
}
