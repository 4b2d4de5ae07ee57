/* The mix of an exchange: who is in it, by what weights, and what is to be said of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/algorithm.h"
#include "gossip/async.h"
#include "gossip/pushsum.h"
#include "gossip/replica.h"
#include "gossip/state.h"

/* What is mixed of the model that link k sent; NULL: nothing. Push-sum's sums give their w, too. */
static const float *part_of(gossip_t *g, size_t k, double *share)
{
    uint32_t at = g->exchange & 1;
    const link_t *link = &g->links[k];
    if (g->pushsum && link->trained[at])
        return pushsum_take(g, k, &link->slot[at], share);
    if (g->pushsum && g->own_trained[at]) /* its training is over, its mass stays with it */
        return NULL;
    return coded_part_of(g, link, at);
}

/* The models at hand in ascending peer order, oneself among them, with their w under push-sum.
 * Returns how many. */
static size_t gather(gossip_t *g, gossip_part_t *parts, link_t **links, uint64_t *samples,
                     uint64_t *reach, double *residual, size_t *self)
{
    uint32_t e = g->exchange, at = e & 1;
    size_t n = 0;
    bool placed = false;
    double kept = 0; /* my w, ahead of what comes in */
    if (g->pushsum)
        pushsum_mass(g, NULL, &kept);
    for (size_t k = 0; k <= g->link_count; k++) {
        link_t *link = k < g->link_count ? &g->links[k] : NULL;
        if (!placed && (!link || link->peer > g->config.self)) {
            *self = n;
            parts[n].values = coded_part(g, at);
            parts[n].weight = kept;
            samples[n] = g->samples;
            reach[n++] = g->reach;
            placed = true;
        }
        if (!link)
            break;
        /* Another n than S was made with would take weight that is not there. */
        bool here = link_has(link, e) && link->slot[at].whole && link->samples[at] == link->counted;
        link->missed_last = link->in_graph && !here;
        if (!link->in_graph || link->missed_last)
            continue;
        parts[n].values = part_of(g, k, &parts[n].weight);
        if (!parts[n].values)
            continue;
        links[n] = link;
        residual[n] = link->residual[at];
        samples[n] = link->probation ? 0 : link->samples[at];
        reach[n++] = link->reach[at];
    }
    return n;
}

/* Notes who is missing, learns delays; returns how many live ones are missing. */
static uint32_t account(gossip_t *g, uint8_t *heard, uint8_t *flags)
{
    uint32_t at = g->exchange & 1, missing = 0;
    memset(heard, 0, g->bitset);
    memset(g->missed, 0, g->bitset);
    bit_set(heard, g->config.self);
    *flags = g->own_trained[at] ? CERT_TRAINED : 0;
    for (size_t k = 0; k < g->link_count; k++) {
        link_t *link = &g->links[k];
        if (!is_live(g, link->peer) && (!link->in_graph || link->missed_last))
            *flags |= CERT_CUT;
        if (!link->in_graph) { /* live all the same: what it knows did not get through */
            if (is_live(g, link->peer) &&
                (g->own_trained[at] || drawn_hears(g, link->peer, g->exchange, false)))
                *flags |= CERT_MISSING;
            continue;
        }
        if (!link->missed_last) {
            bit_set(heard, link->peer);
            if (link->trained[at])
                *flags |= CERT_TRAINED;
            deadline_observe(link, link->arrived_ms[at] - g->began_ms);
            deadline_observe(&g->pool, link->arrived_ms[at] - g->began_ms);
            continue;
        }
        bool refused = link_has(link, g->exchange) && link->slot[at].refused;
        missing++;
        bit_set(g->missed, link->peer);
        if (!is_live(g, link->peer))
            continue;
        /* Where all hear all, what a refused peer knows of the others they say themselves. */
        if (!refused || certificate_reach(g) > 1)
            *flags |= CERT_MISSING;
        count(g, GOSSIP_COUNT_MISSING);
        if (refused) {
            act_note(g, GOSSIP_NOTE_UNSOUND, link->peer, g->exchange, "NaN, Inf or damage");
            continue;
        }
        deadline_observe(link, 2 * (g->now - g->began_ms));
        deadline_observe(&g->pool, 2 * (g->now - g->began_ms));
        act_note(g, GOSSIP_NOTE_LATE, link->peer, g->exchange, "its weight went to oneself");
    }
    return missing;
}

/* A liar may learn from what it hears. */
static void tell_tamper(const gossip_t *g, const gossip_part_t *parts, size_t count)
{
    const gossip_tamper_t *tamper = g->config.tamper;
    if (!tamper)
        return;
    const float **models = xcalloc(count, sizeof *models);
    for (size_t k = 0; k < count; k++)
        models[k] = parts[k].values;
    tamper->heard(tamper->user, g->exchange, models, count);
    free(models);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest of them without the `cut` largest; puts them in order. */
static double largest_but(double *distances, size_t count, size_t cut)
{
    qsort(distances, count, sizeof *distances, by_value);
    return count > cut ? distances[count - 1 - cut] : 0;
}

void exchange_mix(gossip_t *g)
{
    uint32_t e = g->exchange, at = e & 1;
    size_t room = g->link_count + 1, self = 0;
    gossip_part_t *parts = xcalloc(room, sizeof *parts);
    uint64_t *samples = xcalloc(room, sizeof *samples), *reach = xcalloc(room, sizeof *reach);
    double *weights = xcalloc(room, sizeof *weights), *residual = xcalloc(room, sizeof *residual);
    link_t **links = xcalloc(room, sizeof *links);
    uint8_t *heard = xcalloc(g->bitset, 1), flags = 0;
    bool async = async_training(g);
    if (!async)
        replicas_advance(g, e);
    size_t n = async ? async_gather(g, parts, weights, residual, &self)
                     : gather(g, parts, links, samples, reach, residual, &self);
    uint32_t left_out = 0, missing = async ? 0 : account(g, heard, &flags);
    double distance = 0, total = 0;
    bool push = g->pushsum && g->own_trained[e & 1];
    if (!async)
        gossip_weights(weights, samples, reach, n, self);
    for (size_t k = 0; k < n && drawn_equal(g, g->own_trained[e & 1]); k++)
        weights[k] = 1.0 / (double)n;
    for (size_t k = 0; k < n; k++)
        total += parts[k].weight;
    for (size_t k = 0; k < n; k++) {
        parts[k].weight = push ? parts[k].weight / total : weights[k];
        /* from here on distances */
        residual[k] = k == self ? 0 : coded_distance(g, at, parts[k].values, residual[k]);
        distance = fmax(distance, residual[k]);
        left_out += links[k] && links[k]->probation;
    }
    tell_tamper(g, parts, n);
    coded_meet(g, parts, n);
    gossip_mixing_t mixing = {.parts = parts,
                              .count = n,
                              .self = self,
                              .table = &g->config.table,
                              .hostile = g->config.hostile,
                              .clip = g->config.clip};
    g->report.cut = left_out + (uint32_t)gossip_algorithm(g->config.robust)->mix(g->mixed, &mixing);
    if (!async)
        probation_judge(g, &mixing, links, residual);
    coded_keep(g, at, parts[self].values);
    g->near_most = largest_but(residual, n, g->config.hostile); /* sorts them */
    /* The parts were rounded. */
    if (push)
        pushsum_values(g, g->mixed);
    g->mixed_exchange = e;
    g->mixes++;
    if (!async)
        certificate_mixed(g, e, distance, flags, heard);
    g->report.exchange = e;
    g->report.heard = (uint32_t)n - 1;
    g->report.missing = missing;
    g->report.distance = distance;
    g->report.wait_ms = g->now - g->publish_wait_ms;
    free(parts);
    free(links);
    free(samples);
    free(reach);
    free(weights);
    free(residual);
    free(heard);
}
