#include "node/learner_train.h"

#include <math.h>

#include "base/clock.h"
#include "gossip/mix.h"

void node_learner_show(node_learner_t *l, const char *phase)
{
    l->progress.phase = phase;
    if (l->world.progress)
        l->world.progress(l->world.user, &l->progress);
}

/* Steps of an epoch: a last batch of one picture has no variance to normalise by and is left out.
 */
static size_t epoch_steps(const node_learner_t *l)
{
    size_t count = l->data.train.count, batch = l->config->train.batch;
    size_t steps = (count + batch - 1) / batch;
    return steps > 1 && count % batch == 1 ? steps - 1 : steps;
}

static void set_rate(node_learner_t *l, uint64_t epoch, size_t step, size_t steps)
{
    const node_config_t *config = l->config;
    uint64_t epochs = (uint64_t)config->rounds * config->train.local_epochs;
    double lr = nn_schedule_lr(&config->train.schedule, epoch, epochs, step, steps);
    nn_trainer_set_lr(l->trainer, (float)lr);
}

/* One pass over the training part; adds to the sums of the round. */
static err_t train_epoch(node_learner_t *l, uint64_t epoch, double share_done, double *loss_sum,
                         size_t *correct_sum, size_t *seen)
{
    const node_config_t *config = l->config;
    const data_set_t *set = &l->data.train;
    rng_t augment, dropout;
    rng_init(&augment, config->seed, RNG_STREAM_AUGMENT, l->peer, epoch);
    rng_init(&dropout, config->seed, RNG_STREAM_DROPOUT, l->peer, epoch);
    data_epoch_order(l->order, set->count, config->seed, l->peer, epoch);
    const size_t steps = epoch_steps(l);
    for (size_t at = 0, step = 0; step < steps; step++) {
        size_t n = set->count - at < config->train.batch ? set->count - at : config->train.batch;
        double loss;
        size_t correct;
        if (*l->interrupted)
            return err_set(ERR_REFUSED, "interrupted");
        data_batch(l->batch, l->labels, set, l->order + at, n, &config->data.normalisation,
                   &config->train.augment, &augment);
        set_rate(l, epoch, step, steps);
        nn_trainer_step(l->trainer, &l->state, &loss, &correct, l->batch, l->labels, n, &dropout);
        at += n;
        *loss_sum += loss * (double)n;
        *correct_sum += correct;
        *seen += n;
        l->progress.loss = *loss_sum / (double)*seen;
        l->progress.accuracy = (double)*correct_sum / (double)*seen;
        l->progress.done =
            share_done + (double)at / (double)(set->count * config->train.local_epochs);
        node_learner_show(l, "training");
    }
    return ERR_OK;
}

err_t node_learner_evaluate(node_learner_t *l, const data_set_t *set, double *accuracy,
                            double *loss)
{
    err_t err = ERR_OK;
    nn_metrics_t metrics = {0};
    if (!set->count)
        return ERR_OK;
    node_learner_show(l, "testing");
    TRY(nn_evaluate(&metrics, l->infer, &l->state, set, &l->config->data.normalisation,
                    l->interrupted));
    *accuracy = metrics.accuracy;
    *loss = metrics.loss;
out:
    nn_metrics_free(&metrics);
    return err;
}

err_t node_learner_train_round(node_learner_t *l, uint32_t round)
{
    err_t err = ERR_OK;
    const node_config_t *config = l->config;
    double started_s = clock_monotonic_s(), loss_sum = 0.0;
    size_t correct = 0, seen = 0;
    if (config->train.optimizer_reset)
        nn_trainer_reset(l->trainer);
    l->progress.round = round;
    for (size_t e = 0; e < config->train.local_epochs; e++)
        TRY(train_epoch(l, (uint64_t)(round - 1) * config->train.local_epochs + e,
                        (double)e / (double)config->train.local_epochs, &loss_sum, &correct,
                        &seen));
    l->row = node_metrics_row(round);
    l->row.train_s = clock_monotonic_s() - started_s;
    l->row.train_loss = loss_sum / (double)seen;
    l->row.train_accuracy = (double)correct / (double)seen;
    if (!gossip_values_ok(l->state.values, &l->setup->table))
        FAIL(ERR_REFUSED,
             "training diverged: the model holds NaN or Inf after round %u; set train.lr lower "
             "than %g",
             round, (double)config->train.optimizer.lr);
    TRY(node_learner_evaluate(l, &l->data.local_test, &l->row.local_test_accuracy,
                              &l->row.local_test_loss));
    if (isfinite(l->row.local_test_accuracy))
        l->progress.test_accuracy = l->row.local_test_accuracy;
out:
    return err;
}
