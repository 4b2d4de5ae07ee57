/* What a learner does when training is over: statistics, the consensus, its files. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "nn/model_file.h"
#include "node/learner_train.h"

void node_learner_remove(const node_learner_t *l, const char *file)
{
    char *path = node_run_path(l->run, l->name, file);
    unlink(path);
    free(path);
}

err_t node_learner_estimate(node_learner_t *l, const gossip_action_t *action,
                            gossip_event_t *answer)
{
    err_t err = ERR_OK;
    node_learner_show(l, "estimating");
    memcpy(l->state.values, action->values, l->setup->net->float_count * sizeof(float));
    data_epoch_order(l->order, l->data.train.count, l->config->seed, l->peer,
                     NODE_STATISTICS_EPOCH);
    TRY(node_statistics_estimate(&l->statistics, &l->state, &l->data.train, l->order, l->config,
                                 l->peer, l->interrupted));
    answer->kind = GOSSIP_EV_STATISTICS;
    answer->bytes = l->statistics.record;
    answer->size = l->statistics.record_size;
    node_learner_show(l, "waiting");
out:
    return err;
}

void node_learner_merge(node_learner_t *l, const gossip_action_t *action, gossip_event_t *answer)
{
    if (action->values)
        memcpy(l->state.values, action->values, l->setup->net->float_count * sizeof(float));
    node_statistics_merge(&l->statistics, &l->state, action->records, action->record_count,
                          l->config);
    node_learner_freeze(l, l->state.values);
    l->merged = true;
    answer->kind = GOSSIP_EV_MERGED;
    answer->values = l->state.values;
}

err_t node_learner_save(node_learner_t *l, const char *file, uint64_t round)
{
    err_t err = ERR_OK;
    char *path = node_run_path(l->run, l->name, file);
    nn_model_meta_t meta = node_setup_meta(l->setup, round);
    memcpy(meta.certified, l->certified, sizeof meta.certified);
    TRY(nn_model_save(path, &l->state, &meta));
out:
    nn_model_meta_free(&meta);
    free(path);
    return err;
}

err_t node_learner_keep(node_learner_t *l, const gossip_action_t *action)
{
    err_t err = ERR_OK;
    const nn_net_t *net = l->setup->net;
    hash_t hash;
    memcpy(l->state.values, action->values, net->float_count * sizeof(float));
    /* Statistics were estimated anew and are nobody's count of batches. */
    memset(l->state.counters, 0, net->counter_count * sizeof(int64_t));
    if (action->report.bound >= 0)
        text_bound(l->certified, action->report.bound, 3, false);
    else
        snprintf(l->certified, sizeof l->certified, "unknown");
    TRY(node_learner_save(l, "consensus.safetensors", action->round));
    node_learner_remove(l, "model.safetensors");
    char *path = node_run_path(l->run, l->name, "consensus.safetensors");
    err = hash_file(&hash, path);
    free(path);
    TRY(err);
    hash_hex(l->summary.digest, &hash);
    l->summary.distance = action->report.bound >= 0 ? action->report.bound : NAN;
    bool common = l->config->evaluate.peer == NODE_EVALUATE_ALL ||
                  (l->config->evaluate.peer == NODE_EVALUATE_FIRST && (l->peer == 0 || l->merged));
    /* Whoever stands in for the first peer may not have the test set: that ends nothing. */
    if (common && l->peer != 0 && l->config->evaluate.peer == NODE_EVALUATE_FIRST &&
        node_setup_load_test(l->setup)) {
        log_warn("not_tested", "error=\"%s\"", err_message());
        common = false;
    }
    if (common) {
        TRY(node_setup_load_test(l->setup));
        TRY(node_learner_evaluate(l, &l->setup->test, &l->summary.test_accuracy,
                                  &l->summary.test_loss));
    }
    TRY(node_learner_evaluate(l, &l->data.local_test, &l->summary.local_test_accuracy,
                              &l->summary.local_test_loss));
    l->progress.test_accuracy = common ? l->summary.test_accuracy : l->summary.local_test_accuracy;
    l->progress.distance = l->summary.distance;
    log_info("consensus", "sha256=%s distance=%g", l->summary.digest, l->summary.distance);
    l->consensus_round = action->round;
    node_learner_show(l, node_calibration_wanted(l->config) ? "calibrating" : "done");
out:
    return err;
}
