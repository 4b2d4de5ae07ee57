#include "node/learner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gossip/codec.h"
#include "nn/head.h"
#include "node/checkpoint.h"
#include "node/learner_train.h"

static err_t make_buffers(node_learner_t *l)
{
    err_t err = ERR_OK;
    TRY(nn_state_init(&l->state, l->setup->net));
    if (l->world.engine) {
        l->lent = true;
        node_learner_use(l, l->world.engine);
        nn_trainer_reset(l->trainer);
        if (node_config_keeps_optimizer(l->config))
            l->kept =
                xcalloc(nn_trainer_slots(l->trainer) * l->setup->net->float_count, sizeof *l->kept);
    } else {
        TRY(node_engine_init(&l->own, l->setup));
        node_learner_use(l, &l->own);
    }
    TRY(node_statistics_init(&l->statistics, l->setup->net));
    l->mixed = xcalloc(l->setup->net->float_count, sizeof(float));
    l->order = xcalloc(l->data.train.count, sizeof *l->order);
out:
    return err;
}

/* The trainer whose state goes into checkpoints: none when it starts anew every round. */
static nn_trainer_t *kept_trainer(node_learner_t *l)
{
    return node_config_keeps_optimizer(l->config) ? l->trainer : NULL;
}

/* What the run has cost this peer up to now. */
static node_ledger_t ledger(const node_learner_t *l)
{
    node_ledger_t now = l->earlier;
    uint64_t sent, received;
    l->world.bytes(l->world.user, &sent, &received);
    now.bytes_sent += sent;
    now.bytes_received += received;
    now.seconds += clock_monotonic_s() - l->started_s;
    return now;
}

static err_t save_checkpoint(node_learner_t *l, uint32_t round)
{
    node_ledger_t now = ledger(l);
    return node_checkpoint_save(l->run, l->name, l->setup, &l->state, kept_trainer(l), round, &now);
}

static err_t first_state(node_learner_t *l, bool resume, uint32_t resume_round)
{
    err_t err = ERR_OK;
    nn_state_copy(&l->state, &l->setup->initial.state);
    if (resume)
        TRY(node_checkpoint_load(&l->state, kept_trainer(l), &l->mixed_round, &l->earlier, l->run,
                                 l->name, l->setup, resume_round));
    else
        TRY(save_checkpoint(l, 0));
    memcpy(l->mixed, l->state.values, l->setup->net->float_count * sizeof(float));
    l->first_round = l->mixed_round + 1;
    l->summary.rounds = l->mixed_round;
out:
    return err;
}

static void make_attacker(node_learner_t *l)
{
    const node_attack_t *attack = &l->config->peers[l->peer].attack;
    node_attack_text(l->summary.attack, attack);
    if (attack->kind == NODE_ATTACK_NONE)
        return;
    log_warn("hostile", "peer=%s attack=%s text=\"this peer lies on purpose\"", l->name,
             l->summary.attack);
    l->attacker = node_attacker_new(attack, &l->setup->table, l->config->seed, l->peer);
}

err_t node_learner_new(node_learner_t **learner, node_setup_t *setup, size_t peer, const char *run,
                       const node_world_t *world, bool resume, uint32_t resume_round,
                       const volatile bool *interrupted_flag)
{
    err_t err = ERR_OK;
    node_learner_t *l = xcalloc(1, sizeof *l);
    l->setup = setup;
    l->config = setup->config;
    l->peer = peer;
    l->name = setup->config->peers[peer].name;
    l->run = xstrdup(run);
    l->world = *world;
    l->interrupted = interrupted_flag;
    l->started_s = clock_monotonic_s();
    l->progress =
        (node_progress_t){.loss = NAN, .accuracy = NAN, .test_accuracy = NAN, .distance = NAN};
    l->summary = (node_summary_t){.stopped_by = "rounds",
                                  .test_accuracy = NAN,
                                  .test_loss = NAN,
                                  .local_test_accuracy = NAN,
                                  .local_test_loss = NAN,
                                  .distance = NAN};
    node_learner_show(l, "loading");
    node_learner_remove(l, "summary.json"); /* of an earlier start: its end is not this one's */
    node_learner_remove(l, NODE_INT8_FILE);
    TRY(node_data_load(&l->data, setup, peer));
    if (node_learner_epoch_steps(l) < l->config->train.epoch_rounds)
        FAIL(ERR_CONFIG,
             "%s has %zu pictures to train on, an epoch of %zu steps: too few to be spread over "
             "train.epoch_rounds: %zu; lower that or train.batch",
             l->name, l->data.train.count, node_learner_epoch_steps(l),
             l->config->train.epoch_rounds);
    TRY(make_buffers(l));
    TRY(first_state(l, resume, resume_round));
    TRY(node_metrics_open(&l->metrics, run, l->name, l->first_round));
    l->summary.samples = l->data.train.count;
    make_attacker(l);
    if (l->lent)
        node_learner_return(l);
    *learner = l;
    l = NULL;
out:
    node_learner_destroy(&l);
    return err;
}

void node_learner_destroy(node_learner_t **learner)
{
    node_learner_t *l = *learner;
    if (!l)
        return;
    node_metrics_close(&l->metrics);
    node_attacker_destroy(&l->attacker);
    node_calibration_free(&l->calibration);
    node_statistics_free(&l->statistics);
    node_engine_free(&l->own);
    nn_state_free(&l->state);
    node_data_free(&l->data);
    free(l->mixed);
    free(l->order);
    free(l->kept);
    free(l->run);
    free(l);
    *learner = NULL;
}

uint64_t node_learner_samples(const node_learner_t *learner)
{
    return learner->data.train.count;
}

const float *node_learner_values(const node_learner_t *learner)
{
    return learner->state.values;
}

const gossip_tamper_t *node_learner_tamper(const node_learner_t *learner)
{
    return node_attacker_tamper(learner->attacker);
}

uint32_t node_learner_first_round(const node_learner_t *learner)
{
    return learner->first_round;
}

void node_learner_freeze(const node_learner_t *l, float *values)
{
    const nn_net_t *net = l->setup->net;
    if (l->config->freeze != NODE_FREEZE_FEATURES)
        return;
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        if (e->kind != NN_KIND_COUNTER && !nn_head_owns(net, e))
            memcpy(values + e->offset, l->setup->initial.state.values + e->offset,
                   e->count * sizeof *values);
    }
}

/* Whether this peer measures the common test set after `round`. */
static bool tests_after(const node_learner_t *l, uint32_t round)
{
    const node_config_t *config = l->config;
    if (config->evaluate.peer == NODE_EVALUATE_NONE || !config->evaluate.test_every)
        return false;
    if (config->evaluate.peer == NODE_EVALUATE_FIRST && l->peer != 0)
        return false;
    return round % config->evaluate.test_every == 0 || round == config->rounds;
}

/* Ends the line of the round that was trained and mixed: measures the mixed model and writes it.
 * An interruption leaves the measurement out and nothing else: the round is over, the others may
 * have it behind them already. */
static err_t end_row(node_learner_t *l, const gossip_action_t *action, double waited_s)
{
    err_t err = ERR_OK;
    const gossip_report_t *report = &action->report;
    l->summary.rounds = report->exchange;
    l->row.heard = report->heard;
    l->row.missing = report->missing;
    l->row.cut = report->cut;
    l->row.consensus_distance = report->distance;
    l->row.certified_round = report->bound_exchange;
    l->row.certified_distance = report->bound >= 0 ? report->bound : NAN;
    l->row.mix_s = action->step_s;
    l->row.wait_s = l->world.clock ? (double)report->wait_ms / 1e3 : waited_s;
    if (tests_after(l, report->exchange)) {
        TRY(node_setup_load_test(l->setup));
        err = node_learner_evaluate(l, &l->setup->test, &l->row.test_accuracy, &l->row.test_loss);
        if (err && *l->interrupted)
            err = ERR_OK;
        TRY(err);
        if (isfinite(l->row.test_accuracy))
            l->progress.test_accuracy = l->row.test_accuracy;
    }
    node_ledger_t now = ledger(l);
    l->row.time_s = l->world.clock ? l->virtual_s : now.seconds;
    l->row.codec = gossip_codec_name(l->config->gossip.codec);
    l->row.bytes_sent = now.bytes_sent;
    l->row.bytes_received = now.bytes_received;
    TRY(node_metrics_write(l->metrics, &l->row));
out:
    return err;
}

/* A mixed model came: takes it over, ends the round's line, saves the checkpoint. The line comes
 * first: a resume takes out lines behind its checkpoint, and could not write one that is missing.
 */
static err_t take_mixed(node_learner_t *l, const gossip_action_t *action)
{
    err_t err = ERR_OK;
    uint32_t round = action->report.exchange;
    size_t bytes = l->setup->net->float_count * sizeof(float);
    if (l->world.clock)
        l->world.clock(l->world.user, &l->virtual_s, &l->round_s);
    double waited_s = clock_monotonic_s() - l->given_s - action->step_s;
    memcpy(l->state.values, action->values, bytes);
    node_learner_freeze(l, l->state.values);
    /* Of rounds that were mixed elsewhere (caught up) m^ learns nothing and stays as it is. */
    if (l->config->train.optimizer.quasi_global && round > 0 && l->row.round == round &&
        l->rates > 0)
        nn_trainer_follow(l->trainer, l->mixed, l->state.values, l->rates);
    memcpy(l->mixed, l->state.values, bytes);
    l->mixed_round = round;
    l->progress.distance = action->report.distance;
    if (round > 0 && l->row.round == round) /* else caught up: it was not trained here */
        TRY(end_row(l, action, waited_s));
    if (round >= l->first_round)
        TRY(save_checkpoint(l, round));
out:
    return err;
}

static bool time_is_over(const node_learner_t *l, double round_s)
{
    double limit_s = l->config->time_limit_s;
    if (l->world.clock)
        return limit_s > 0.0 && l->virtual_s + 2.0 * l->round_s > limit_s;
    return limit_s > 0.0 && clock_monotonic_s() - l->started_s + round_s > limit_s;
}

/* Why training ended ahead of the last round: this peer's doing or a neighbour's. */
static const char *ended_early(const node_learner_t *l, const gossip_action_t *action)
{
    bool stops = l->config->gossip.stop.distance > 0 || l->config->gossip.stop.accuracy > 0;
    if (action->report.stopped || l->config->time_limit_s <= 0)
        return "stop";
    if (!stops || !strcmp(l->summary.stopped_by, "time_limit"))
        return "time_limit";
    return "neighbour"; /* who does not say why */
}

err_t node_learner_take(node_learner_t *l, const gossip_action_t *action)
{
    err_t err = ERR_OK;
    if (l->world.clock)
        l->world.clock(l->world.user, &l->virtual_s, &l->round_s);
    if (action->report.exchange)
        TRY(take_mixed(l, action));
    memcpy(l->state.values, action->values, l->setup->net->float_count * sizeof(float));
    node_learner_freeze(l, l->state.values);
    l->to_train = action->round;
out:
    return err;
}

err_t node_learner_train(node_learner_t *l, gossip_event_t *answer, bool *end_training)
{
    err_t err = ERR_OK;
    double started_s = clock_monotonic_s();
    *answer = (gossip_event_t){0};
    *end_training = false;
    TRY(node_learner_train_round(l, l->to_train));
    /* The limit stops between rounds: another one like this would end behind it. */
    if (time_is_over(l, clock_monotonic_s() - started_s)) {
        *end_training = true;
        if (l->to_train < l->config->rounds)
            l->summary.stopped_by = "time_limit";
    }
    answer->kind = GOSSIP_EV_MODEL;
    answer->round = l->to_train;
    answer->values = l->state.values;
    answer->accuracy = isfinite(l->row.local_test_accuracy) ? l->row.local_test_accuracy : 0;
    l->given_s = clock_monotonic_s();
    node_learner_show(l, "waiting");
out:
    return err;
}

err_t node_learner_act(node_learner_t *learner, const gossip_action_t *action,
                       gossip_event_t *answer, bool *answered, bool *end_training)
{
    err_t err = ERR_OK;
    *answer = (gossip_event_t){0};
    *answered = *end_training = false;
    switch (action->kind) {
    case GOSSIP_ACT_TRAIN:
        TRY(node_learner_take(learner, action));
        TRY(node_learner_train(learner, answer, end_training));
        *answered = true;
        break;
    case GOSSIP_ACT_TRAINED:
        if (action->report.exchange) /* 0: resumed behind the last round */
            TRY(take_mixed(learner, action));
        if (action->report.exchange && action->report.exchange < learner->config->rounds)
            learner->summary.stopped_by = ended_early(learner, action); /* mine or a neighbour's */
        node_learner_show(learner, "waiting");
        break;
    case GOSSIP_ACT_ESTIMATE:
        TRY(node_learner_estimate(learner, action, answer));
        *answered = true;
        break;
    case GOSSIP_ACT_MERGE:
        node_learner_merge(learner, action, answer);
        *answered = true;
        break;
    case GOSSIP_ACT_CONSENSUS:
        TRY(node_learner_keep(learner, action));
        break;
    case GOSSIP_ACT_STAGE:
        TRY(node_learner_calibrate(learner, action, answer, answered));
        break;
    default:
        break;
    }
out:
    return err;
}

err_t node_learner_finish(node_learner_t *learner, bool was_interrupted)
{
    err_t err = ERR_OK;
    node_learner_t *l = learner;
    if (was_interrupted)
        l->summary.stopped_by = "interrupted";
    if (!*l->summary.digest) {
        memcpy(l->state.values, l->mixed, l->setup->net->float_count * sizeof(float));
        TRY(node_learner_save(l, "model.safetensors", l->mixed_round));
    }
    node_ledger_t now = ledger(l);
    l->summary.wall_s = now.seconds;
    l->summary.bytes_sent = now.bytes_sent;
    l->summary.bytes_received = now.bytes_received;
    TRY(node_summary_write(l->run, l->name, &l->summary));
out:
    return err;
}
