#include "node/aware.h"

#include <stdlib.h>

#include "nn/infer.h"
#include "node/statistics.h"
#include "quant/fold.h"

bool node_aware_round(const node_config_t *config, uint32_t round)
{
    return round + config->train.quantization_aware_rounds > config->rounds;
}

/* On batches in the order of the peer's first epoch: sets lie sorted by class. */
static err_t estimate_statistics(nn_state_t *state, const data_set_t *set, const uint32_t *order,
                                 const node_config_t *config, size_t peer,
                                 const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    rng_t augment = node_statistics_augment(config, peer);
    const size_t channels = nn_statistics_count(state->net);
    double *mean = xcalloc(channels + 1, sizeof *mean), *var = xcalloc(channels + 1, sizeof *var);
    uint64_t *count = xcalloc(nn_batch_norm_count(state->net) + 1, sizeof *count);
    TRY(nn_statistics_estimate(mean, var, count, state, set, order, &config->data.normalisation,
                               &config->train.augment, &augment, config->train.batch,
                               config->train.threads, interrupted));
    nn_statistics_apply(state, mean, var, count);
out:
    free(mean);
    free(var);
    free(count);
    return err;
}

err_t node_aware_begin(node_aware_t *aware, nn_state_t *state, const data_set_t *set,
                       const node_config_t *config, size_t peer, size_t steps,
                       const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    const quant_convert_options_t convert = {
        .clipping = config->quantize.clipping, .weight_bits = 8, .bias_correction = false};
    const nn_model_meta_t meta = {.arch = state->net->arch,
                                  .normalisation = config->data.normalisation};
    /* The peer's own trainer takes the steps; the one inside has the loss. */
    nn_optimizer_t optimizer = nn_optimizer_default(NN_SGD, 0.0f);
    uint32_t *order = xcalloc(set->count + 1, sizeof *order);
    *aware = (node_aware_t){.steps = steps};
    optimizer.label_smoothing = config->train.optimizer.label_smoothing;
    data_epoch_order(order, set->count, config->seed, peer, 0);
    TRY(estimate_statistics(state, set, order, config, peer, interrupted));
    TRY(quant_fold_net(&aware->net, state->net));
    TRY(nn_state_init(&aware->folded, aware->net));
    TRY(quant_fold_state(&aware->folded, state));
    const quant_calibration_t calibration = {
        .folded = &aware->folded,
        .set = set,
        .pictures = order,
        .count = set->count < config->quantize.samples ? set->count : config->quantize.samples,
        .normalisation = &config->data.normalisation,
        .threads = config->train.threads,
        .interrupted = interrupted};
    TRY(quant_calibrate(&aware->start, &meta, &calibration, &convert));
    TRY(quant_qat_new(&aware->qat, &aware->start, &convert, config->train.batch,
                      config->train.threads, &optimizer));
out:
    free(order);
    return err;
}

void node_aware_free(node_aware_t *aware)
{
    quant_qat_destroy(&aware->qat);
    quant_integer_free(&aware->start);
    nn_state_free(&aware->folded);
    nn_net_destroy(&aware->net);
    *aware = (node_aware_t){0};
}

err_t node_aware_step(node_aware_t *aware, nn_trainer_t *trainer, nn_state_t *state, double *loss,
                      size_t *correct, float *x, const int32_t *labels, size_t n)
{
    err_t err = ERR_OK;
    TRY(quant_fold_state(&aware->folded, state));
    quant_qat_differentiate(aware->qat, &aware->folded, loss, correct, x, labels, n);
    quant_fold_gradient(nn_trainer_gradients(trainer), state, quant_qat_gradients(aware->qat),
                        aware->net);
    nn_trainer_update(trainer, state);
    if (2 * aware->step++ < aware->steps)
        quant_qat_observe(aware->qat, QUANT_QAT_SHARE);
out:
    return err;
}
