/* Steps on random pictures, and the work that is in them. */
#include "nn/bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nn/infer.h"
#include "nn/run.h"

enum {
    BATCHES = 4,         /* different ones when training, so that no gradient dies away */
    STEPS_MAX = 1 << 16, /* measured; times of more find no place */
    STEPS_MAX_LAYERS = 1 << 11,
    WARM_TRAIN = 3,
    WARM_INFER = 10
};

typedef struct {
    const nn_bench_options_t *options;
    const nn_net_t *net;
    nn_state_t *state; /* NULL with `other` */
    nn_bench_infer_t *other;
    void *argument;        /* of `other` */
    nn_trainer_t *trainer; /* or */
    nn_infer_t *infer;
    nn_run_t *run;   /* inside either; NULL with `other` */
    float *x;        /* (batches, batch,H,W,3) */
    int32_t *labels; /* (batches, batch) */
    float *logits;   /* (batch,classes) */
    size_t picture;  /* floats of one */
    size_t batches;
    size_t steps_max;
    double *step_s; /* (steps_max) */
    size_t slots;   /* times of nn_run_mark */
    double *times;  /* (steps_max, slots), with layers */
    rng_t dropout;
    size_t taken; /* steps, warming up included */
} bench_t;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the values. */
static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

static err_t take(void *place, size_t count, size_t size)
{
    void *memory = nn_aligned(count * size);
    *(void **)place = memory;
    return memory ? ERR_OK : err_set(ERR_MEMORY, "no memory for a batch of random pictures");
}

static void draw(bench_t *b)
{
    const nn_bench_options_t *o = b->options;
    const size_t classes = b->net->arch.classes;
    rng_t rng;
    rng_init(&rng, o->seed, RNG_STREAM_SYNTHETIC, 0, 0);
    rng_init(&b->dropout, o->seed, RNG_STREAM_DROPOUT, 0, 0);
    for (size_t i = 0; i < b->batches * o->batch * b->picture; i++)
        b->x[i] = (float)rng_normal(&rng);
    for (size_t i = 0; i < b->batches * o->batch; i++)
        b->labels[i] = (int32_t)rng_below(&rng, classes);
}

static err_t begin(bench_t *b)
{
    err_t err = ERR_OK;
    const nn_bench_options_t *o = b->options;
    const nn_net_t *net = b->net;
    b->picture = nn_shape_count(net->tensors[0]);
    b->batches = o->train ? BATCHES : 1;
    if (o->train) {
        TRY(nn_trainer_new(&b->trainer, net, o->batch, o->threads, &o->optimizer));
        b->run = nn_trainer_run(b->trainer);
    } else if (!b->other) {
        TRY(nn_infer_new(&b->infer, net, o->batch, o->threads));
        b->run = nn_infer_inner_run(b->infer);
    }
    b->steps_max = o->layers ? STEPS_MAX_LAYERS : STEPS_MAX;
    b->slots = b->run ? 2 * b->run->plan.step_count + 3 : 0;
    TRY(take(&b->x, b->batches * o->batch * b->picture, sizeof *b->x));
    TRY(take(&b->labels, b->batches * o->batch, sizeof *b->labels));
    TRY(take(&b->logits, o->batch * net->arch.classes, sizeof *b->logits));
    TRY(take(&b->step_s, b->steps_max, sizeof *b->step_s));
    if (o->layers)
        TRY(take(&b->times, b->steps_max * b->slots, sizeof *b->times));
    draw(b);
out:
    return err;
}

static void end(bench_t *b)
{
    nn_trainer_destroy(&b->trainer);
    nn_infer_destroy(&b->infer);
    nn_free(b->x);
    nn_free(b->labels);
    nn_free(b->logits);
    nn_free(b->step_s);
    nn_free(b->times);
}

/* One step; `times` (slots) may be NULL. Returns its seconds. */
static double step(bench_t *b, double *times)
{
    const nn_bench_options_t *o = b->options;
    const size_t which = b->taken++ % b->batches, batch = o->batch;
    const float *x = b->x + which * batch * b->picture;
    double loss, start = clock_monotonic_s();
    size_t correct;
    if (b->other) {
        b->other(b->argument, b->logits, x, batch);
        return clock_monotonic_s() - start;
    }
    b->run->times = times;
    b->run->marked = start;
    if (o->train)
        nn_trainer_step(b->trainer, b->state, &loss, &correct, x, b->labels + which * batch, batch,
                        &b->dropout);
    else
        nn_infer_run_packed(b->infer, b->logits, b->state, x, batch);
    nn_run_mark(b->run, b->slots - 1);
    return clock_monotonic_s() - start;
}

/* All steps that are measured; returns how many. */
static size_t steps(bench_t *b)
{
    const nn_bench_options_t *o = b->options;
    const double start = clock_monotonic_s();
    size_t n = 0;
    do {
        b->step_s[n] = step(b, b->times ? b->times + n * b->slots : NULL);
        n++;
    } while (n < b->steps_max &&
             (o->repeats ? n < o->repeats : clock_monotonic_s() - start < o->seconds));
    return n;
}

/* Multiplications with an addition of one picture. */
static double multiply_adds(const nn_net_t *net, const nn_op_t *op)
{
    const nn_shape_t in = net->tensors[op->in[0]], out = net->tensors[op->out];
    if (op->kind == NN_OP_CONV2D)
        return (double)(nn_shape_count(out) * op->kernel * op->kernel * in.channels / op->groups);
    if (op->kind == NN_OP_DENSE)
        return (double)(nn_shape_count(in) * nn_shape_count(out));
    return 0;
}

/* Operations forward, and backward: the gradient of the weights and that of the input, which the
 * pictures do not need. */
static void count_operations(double *forward, double *backward, const nn_net_t *net,
                             const nn_op_t *op, size_t batch)
{
    double operations = 2.0 * (double)batch * multiply_adds(net, op);
    *forward += operations;
    *backward += op->in[0] == 0 ? operations : 2.0 * operations;
}

static double entry_bytes(const nn_net_t *net, int entry)
{
    return entry == NN_NONE ? 0 : (double)(net->entries[entry].count * sizeof(float));
}

/* The words, between dots, that both begin with, into `name`. */
static void keep_common(char *name, const char *other)
{
    size_t same = 0, i = 0;
    for (; name[i] && name[i] == other[i]; i++)
        if (name[i] == '.')
            same = i;
    if ((name[i] == '\0' || name[i] == '.') && (other[i] == '\0' || other[i] == '.'))
        same = i;
    name[same] = '\0';
}

static const char *kind_name(nn_step_kind_t kind)
{
    static const char *const names[] = {[NN_STEP_CONV2D] = "conv2d",
                                        [NN_STEP_NORM] = "batch_norm",
                                        [NN_STEP_CLAMP] = "relu",
                                        [NN_STEP_MAX_POOL] = "max_pool",
                                        [NN_STEP_GLOBAL_AVG_POOL] = "avg_pool",
                                        [NN_STEP_ADD] = "add",
                                        [NN_STEP_DROPOUT] = "dropout",
                                        [NN_STEP_DENSE] = "dense",
                                        [NN_STEP_FAKE_QUANT] = "fake_quant",
                                        [NN_STEP_BOTTLENECK] = "bottleneck"};
    return (size_t)kind < sizeof names / sizeof names[0] && names[kind] ? names[kind] : "other";
}

/* Name and work of step s: of its operations, those up to where the next step begins. */
static void describe(nn_bench_layer_t *layer, const nn_plan_t *plan, size_t s, size_t batch,
                     bool train)
{
    const nn_net_t *net = plan->net;
    const nn_step_t *at = &plan->steps[s];
    const nn_op_t *stop = s + 1 < plan->step_count ? at[1].op : net->ops + net->op_count;
    double weights = 0, inputs = 0, outputs = (double)(nn_shape_count(at->out_shape));
    layer->kind = kind_name(at->kind);
    layer->in = at->in_shape;
    layer->out = at->out_shape;
    for (const nn_op_t *op = at->op; op < stop; op++) {
        count_operations(&layer->forward.operations, &layer->backward.operations, net, op, batch);
        weights += entry_bytes(net, op->weight) + entry_bytes(net, op->bias);
        if (op->name[0] && !layer->name[0])
            memcpy(layer->name, op->name, sizeof layer->name);
        else if (op->name[0])
            keep_common(layer->name, op->name);
    }
    for (int i = 0; i < 2; i++)
        if (at->in[i] != NN_NONE)
            inputs += (double)nn_shape_count(at->in_shape);
    double pictures = (double)batch * sizeof(float);
    layer->forward.bytes = pictures * (inputs + outputs) + weights;
    if (train) { /* read: inputs, gradient of outputs, weights; written: the two other gradients */
        double gradients = at->in[0] == 0 ? 0 : inputs;
        layer->backward.bytes = pictures * (inputs + outputs + gradients) + 2.0 * weights;
    } else {
        layer->backward.operations = 0;
    }
}

/* Median over the steps of one slot; `column` (steps) is room to sort in. */
static double slot_median(const bench_t *b, double *column, size_t count, size_t slot)
{
    for (size_t i = 0; i < count; i++)
        column[i] = b->times[i * b->slots + slot];
    return median(column, count);
}

static void collect_layers(nn_bench_t *result, const bench_t *b)
{
    const nn_plan_t *plan = &b->run->plan;
    const size_t S = plan->step_count;
    double *column = b->step_s; /* its own median is taken */
    result->layer_count = S;
    result->layers = nn_calloc(S, sizeof *result->layers);
    for (size_t s = 0; s < S; s++) {
        nn_bench_layer_t *layer = &result->layers[s];
        describe(layer, plan, s, b->options->batch, b->options->train);
        layer->forward.seconds = slot_median(b, column, result->steps, s + 1);
        if (b->options->train)
            layer->backward.seconds = slot_median(b, column, result->steps, 2 * S + 1 - s);
    }
    result->pack_s = slot_median(b, column, result->steps, 0);
    result->optimize_s = slot_median(b, column, result->steps, 2 * S + 2);
    if (!b->options->train)
        return;
    /* The slot ahead of the last step's way back holds the loss. */
    result->loss_s = slot_median(b, column, result->steps, S + 1);
}

static err_t measure(nn_bench_t *result, bench_t *b)
{
    err_t err = ERR_OK;
    const nn_bench_options_t *options = b->options;
    double backward = 0;
    *result = (nn_bench_t){0};
    TRY(begin(b));
    if (b->infer)
        nn_infer_pack(b->infer, b->state);
    step(b, NULL);
    uint64_t allocations = nn_allocation_count();
    for (int i = 1; i < (options->train ? WARM_TRAIN : WARM_INFER); i++)
        step(b, NULL);
    result->steps = steps(b);
    result->allocations = nn_allocation_count() - allocations;
    result->median_s = median(b->step_s, result->steps);
    result->min_s = b->step_s[0];
    result->max_s = b->step_s[result->steps - 1];
    for (size_t i = 0; i < b->net->op_count; i++)
        count_operations(&result->operations, &backward, b->net, &b->net->ops[i], options->batch);
    result->operations += options->train ? backward : 0;
    if (options->layers)
        collect_layers(result, b);
    result->x = b->x;
    b->x = NULL;
    if (!options->train) {
        result->logits = b->logits;
        b->logits = NULL;
    }
out:
    end(b);
    return err;
}

err_t nn_bench_run(nn_bench_t *result, nn_state_t *state, const nn_bench_options_t *options)
{
    bench_t b = {.options = options, .net = state->net, .state = state};
    return measure(result, &b);
}

err_t nn_bench_infer(nn_bench_t *result, const nn_net_t *net, nn_bench_infer_t *infer,
                     void *argument, const nn_bench_options_t *options)
{
    bench_t b = {.options = options, .net = net, .other = infer, .argument = argument};
    CHECK(!options->train && !options->layers);
    return measure(result, &b);
}

void nn_bench_free(nn_bench_t *result)
{
    nn_free(result->x);
    nn_free(result->logits);
    nn_free(result->layers);
    *result = (nn_bench_t){0};
}
