/* The training loop. Adam, on weights in units of the largest of their output channel as it was
 * when training began: folding leaves channels whose weights differ by orders of magnitude, and one
 * rate for all of them in their own units either does nothing to the large or destroys the small.
 */
#include <math.h>
#include <string.h>

#include "nn/memory.h"
#include "nn/plan.h"
#include "quant/fold.h"
#include "quant/qat.h"

quant_qat_options_t quant_qat_defaults(void)
{
    return (quant_qat_options_t){
        .epochs = 1, .batch = 32, .lr = 1e-3, .observe = 0.5, .seed = 1, .threads = 1};
}

typedef struct {
    const quant_qat_options_t *options;
    const data_set_t *set;
    const data_normalisation_t *normalisation;
    quant_qat_t *qat;
    nn_state_t folded;  /* what the integers are made of */
    nn_state_t learned; /* the same in units */
    float *units;       /* (float_count) powers of two, 0 where nothing is to move */
    uint32_t *order;    /* (set->count) */
    float *x;           /* (batch,H,W,3) */
    int32_t *labels;    /* (batch) */
} training_t;

static err_t check(const quant_qat_options_t *o, const data_set_t *set, const nn_arch_t *arch)
{
    err_t err = ERR_OK;
    if (o->epochs < 1 || o->epochs > QUANT_QAT_EPOCHS_MAX)
        FAIL(ERR_CONFIG, "quantization-aware training for %zu epochs: 1 to %d are possible",
             o->epochs, QUANT_QAT_EPOCHS_MAX);
    if (o->batch < 2 || o->batch > 65536)
        FAIL(ERR_CONFIG, "quantization-aware training with batches of %zu: 2 to 65536 are possible",
             o->batch);
    if (!(o->lr > 0 && o->lr <= 1))
        FAIL(ERR_CONFIG, "quantization-aware training with a rate of %g: above 0, at most 1",
             o->lr);
    if (!(o->observe >= 0 && o->observe <= 1))
        FAIL(ERR_CONFIG, "ranges that move for %g of quantization-aware training: 0 to 1",
             o->observe);
    if (set->height != arch->input || set->width != arch->input)
        FAIL(ERR_CONFIG,
             "quantization-aware training on pictures of %zux%zu: the model takes "
             "%zux%zu",
             set->width, set->height, arch->input, arch->input);
    if (set->class_count != arch->classes)
        FAIL(ERR_CONFIG, "quantization-aware training on data of %zu classes: the model has %zu",
             set->class_count, arch->classes);
    if (set->count < QUANT_QAT_PICTURES_MIN * arch->classes)
        FAIL(ERR_CONFIG,
             "quantization-aware training on %zu pictures: with %zu classes it takes at least %zu, "
             "and hundreds a class are good",
             set->count, arch->classes, QUANT_QAT_PICTURES_MIN * arch->classes);
out:
    return err;
}

/* The power of two at or above the largest of w; 0 when all are 0. */
static float unit_of(const float *w, size_t count)
{
    float largest = 0;
    int exponent;
    for (size_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(w[i]));
    if (largest == 0)
        return 0;
    frexpf(largest, &exponent);
    return ldexpf(1.0f, exponent < -100 ? -100 : exponent);
}

/* A bias moves what the channel's outputs would by a weight on an input at the end of its range. */
static void set_units(training_t *t, const quant_integer_t *start)
{
    const nn_net_t *net = t->folded.net;
    for (size_t i = 0; i < net->op_count; i++) {
        const nn_op_t *op = &net->ops[i];
        if (op->weight == NN_NONE)
            continue;
        const nn_entry_t *e = &net->entries[op->weight];
        const size_t outputs = e->shape[0], inputs = e->count / outputs;
        const quant_affine_t x = start->tensors[op->in[0]];
        const float reach = x.scale * (float)(x.zero > 127 ? x.zero : 255 - x.zero);
        const float in = unit_of(&reach, 1);
        for (size_t o = 0; o < outputs; o++) {
            const float unit = unit_of(t->folded.values + e->offset + o * inputs, inputs);
            for (size_t k = 0; k < inputs; k++)
                t->units[e->offset + o * inputs + k] = unit;
            if (op->bias != NN_NONE)
                t->units[net->entries[op->bias].offset + o] = unit * in;
        }
    }
    for (size_t i = 0; i < net->float_count; i++)
        t->learned.values[i] = t->units[i] > 0 ? t->folded.values[i] / t->units[i] : 0;
}

static void step(training_t *t, double *loss, size_t *correct, size_t n, double lr)
{
    const size_t count = t->folded.net->float_count;
    quant_qat_differentiate(t->qat, &t->folded, loss, correct, t->x, t->labels, n);
    float *gradients = quant_qat_gradients(t->qat);
    for (size_t i = 0; i < count; i++)
        gradients[i] *= t->units[i];
    nn_trainer_set_lr(quant_qat_trainer(t->qat), (float)lr);
    nn_trainer_update(quant_qat_trainer(t->qat), &t->learned);
    for (size_t i = 0; i < count; i++)
        t->folded.values[i] =
            t->units[i] > 0 ? t->learned.values[i] * t->units[i] : t->folded.values[i];
}

static err_t train_epoch(training_t *t, size_t epoch)
{
    err_t err = ERR_OK;
    const quant_qat_options_t *o = t->options;
    const size_t count = t->set->count, steps = (count + o->batch - 1) / o->batch;
    const double all = (double)(steps * o->epochs);
    double sum = 0;
    size_t right = 0;
    data_epoch_order(t->order, count, o->seed, o->peer, epoch);
    for (size_t s = 0; s < steps; s++) {
        const size_t at = s * o->batch, n = count - at < o->batch ? count - at : o->batch;
        const double done = (double)(epoch * steps + s) / all;
        double loss;
        size_t correct;
        if (o->interrupted && *o->interrupted)
            FAIL(ERR_REFUSED, "quantization-aware training interrupted");
        data_batch(t->x, t->labels, t->set, t->order + at, n, t->normalisation, NULL, NULL);
        step(t, &loss, &correct, n, 0.5 * o->lr * (1 + cos(done * acos(-1.0))));
        if (!isfinite(loss))
            FAIL(ERR_REFUSED,
                 "quantization-aware training diverged: the loss of epoch %zu, batch %zu is %s; "
                 "set a rate lower than %g",
                 epoch + 1, s + 1, isnan(loss) ? "NaN" : "infinite", o->lr);
        if (done < o->observe)
            quant_qat_observe(t->qat, QUANT_QAT_SHARE);
        sum += loss * (double)n;
        right += correct;
    }
    if (o->progress)
        o->progress(o->user, epoch + 1, sum / (double)count, (double)right / (double)count);
out:
    return err;
}

static err_t training_new(training_t *t, const quant_integer_t *start,
                          const quant_calibration_t *calibration,
                          const quant_convert_options_t *convert)
{
    err_t err = ERR_OK;
    const nn_net_t *net = start->net;
    const quant_qat_options_t *o = t->options;
    const nn_optimizer_t adam = nn_optimizer_default(NN_ADAM, (float)o->lr);
    TRY(nn_state_init(&t->folded, net));
    TRY(nn_state_init(&t->learned, net));
    memcpy(t->folded.values, calibration->folded->values, net->float_count * sizeof(float));
    TRY(quant_qat_new(&t->qat, start, convert, o->batch, o->threads, &adam));
    t->units = nn_calloc(net->float_count, sizeof *t->units);
    t->order = nn_calloc(t->set->count, sizeof *t->order);
    t->labels = nn_calloc(o->batch, sizeof *t->labels);
    t->x = nn_aligned(o->batch * nn_shape_count(net->tensors[0]) * sizeof *t->x);
    if (!t->x)
        FAIL(ERR_MEMORY, "no memory for a batch of %zu pictures", o->batch);
    set_units(t, start);
out:
    return err;
}

static void training_free(training_t *t)
{
    quant_qat_destroy(&t->qat);
    nn_state_free(&t->folded);
    nn_state_free(&t->learned);
    nn_free(t->units);
    nn_free(t->order);
    nn_free(t->labels);
    nn_free(t->x);
}

err_t quant_qat_train(quant_integer_t *model, const nn_model_meta_t *meta,
                      const quant_calibration_t *calibration,
                      const quant_convert_options_t *convert, const data_set_t *set,
                      const quant_qat_options_t *options)
{
    err_t err = ERR_OK;
    quant_integer_t start = {0};
    training_t t = {.options = options, .set = set, .normalisation = calibration->normalisation};
    *model = (quant_integer_t){0};
    TRY(check(options, set, &calibration->folded->net->arch));
    TRY(quant_calibrate(&start, meta, calibration, convert));
    TRY(training_new(&t, &start, calibration, convert));
    for (size_t epoch = 0; epoch < options->epochs; epoch++)
        TRY(train_epoch(&t, epoch));
    if (quant_check_finite(&t.folded)) {
        err_clear();
        FAIL(ERR_REFUSED,
             "quantization-aware training diverged: weights are NaN or infinite after %zu epochs; "
             "set a rate lower than %g",
             options->epochs, options->lr);
    }
    TRY(quant_qat_convert(model, t.qat, &t.folded, meta));
out:
    training_free(&t);
    quant_integer_free(&start);
    return err;
}

err_t quant_qat_quantize(quant_integer_t *integer, const nn_model_t *model,
                         const quant_calibration_t *calibration,
                         const quant_convert_options_t *convert, const data_set_t *set,
                         const quant_qat_options_t *options)
{
    err_t err = ERR_OK;
    nn_net_t *net = NULL;
    nn_state_t folded = {0};
    quant_calibration_t of_folded = *calibration;
    *integer = (quant_integer_t){0};
    TRY(quant_check_statistics(&model->state));
    TRY(quant_fold_net(&net, model->net));
    TRY(nn_state_init(&folded, net));
    TRY(quant_fold_state(&folded, &model->state));
    of_folded.folded = &folded;
    TRY(quant_qat_train(integer, &model->meta, &of_folded, convert, set, options));
out:
    nn_state_free(&folded);
    nn_net_destroy(&net);
    return err;
}
