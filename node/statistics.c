#include "node/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");

static const uint64_t COUNT_MAX = UINT64_C(1) << 53; /* exact in double */

err_t node_statistics_init(node_statistics_t *statistics, const nn_net_t *net)
{
    size_t channels = nn_statistics_count(net), norms = nn_batch_norm_count(net);
    *statistics = (node_statistics_t){
        .net = net,
        .channels = channels,
        .norms = norms,
        .mean = xcalloc(channels, sizeof(double)),
        .var = xcalloc(channels, sizeof(double)),
        .count = xcalloc(norms, sizeof(uint64_t)),
        .record_size = norms * sizeof(uint64_t) + 2 * channels * sizeof(double),
    };
    statistics->record = xcalloc(statistics->record_size, 1);
    return ERR_OK;
}

void node_statistics_free(node_statistics_t *statistics)
{
    free(statistics->mean);
    free(statistics->var);
    free(statistics->count);
    free(statistics->record);
    *statistics = (node_statistics_t){0};
}

/* count, mean and var as they stand one behind the other in a record. */
static void split_record(uint8_t *place[3], size_t size[3], const node_statistics_t *s,
                         uint8_t *record)
{
    size[0] = s->norms * sizeof(uint64_t);
    size[1] = size[2] = s->channels * sizeof(double);
    place[0] = record;
    place[1] = record + size[0];
    place[2] = place[1] + size[1];
}

rng_t node_statistics_augment(const node_config_t *config, size_t peer)
{
    rng_t rng;
    rng_init(&rng, config->seed, RNG_STREAM_AUGMENT, peer, NODE_STATISTICS_EPOCH);
    return rng;
}

err_t node_statistics_estimate(node_statistics_t *statistics, const nn_state_t *state,
                               const data_set_t *set, const uint32_t *order,
                               const node_config_t *config, size_t peer,
                               const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    rng_t rng = node_statistics_augment(config, peer);
    uint8_t *place[3];
    size_t size[3];
    TRY(nn_statistics_estimate(statistics->mean, statistics->var, statistics->count, state, set,
                               order, &config->data.normalisation, &config->train.augment, &rng,
                               config->train.batch, config->train.threads, interrupted));
    split_record(place, size, statistics, statistics->record);
    memcpy(place[0], statistics->count, size[0]);
    memcpy(place[1], statistics->mean, size[1]);
    memcpy(place[2], statistics->var, size[2]);
out:
    return err;
}

static bool is_sound(const node_statistics_t *s)
{
    for (size_t i = 0; i < s->norms; i++)
        if (s->count[i] < 2 || s->count[i] > COUNT_MAX)
            return false;
    for (size_t i = 0; i < s->channels; i++)
        if (!isfinite(s->mean[i]) || !isfinite(s->var[i]) || s->var[i] < 0.0 ||
            fabs(s->mean[i]) > 1e30 || s->var[i] > 1e30)
            return false;
    return true;
}

void node_statistics_merge(node_statistics_t *statistics, nn_state_t *state,
                           const gossip_record_t *records, size_t record_count,
                           const node_config_t *config)
{
    node_statistics_t sum, one;
    size_t merged = 0;
    node_statistics_init(&sum, statistics->net);
    node_statistics_init(&one, statistics->net);
    for (size_t i = 0; i < record_count; i++) {
        uint8_t *place[3];
        size_t size[3];
        bool sound = records[i].size == one.record_size;
        if (sound) {
            memcpy(one.record, records[i].bytes, one.record_size);
            split_record(place, size, &one, one.record);
            memcpy(one.count, place[0], size[0]);
            memcpy(one.mean, place[1], size[1]);
            memcpy(one.var, place[2], size[2]);
            sound = is_sound(&one);
        }
        if (!sound)
            log_warn("statistics_refused", "peer=%s", config->peers[records[i].peer].name);
        else if (merged++ == 0) {
            memcpy(sum.count, one.count, one.norms * sizeof(uint64_t));
            memcpy(sum.mean, one.mean, one.channels * sizeof(double));
            memcpy(sum.var, one.var, one.channels * sizeof(double));
        } else
            nn_statistics_merge(sum.mean, sum.var, sum.count, one.mean, one.var, one.count,
                                statistics->net);
    }
    if (merged && statistics->norms)
        nn_statistics_apply(state, sum.mean, sum.var, sum.count);
    node_statistics_free(&sum);
    node_statistics_free(&one);
}
