#include "nn/run.h"

#include <string.h>

#include "base/clock.h"

static size_t floats(size_t count)
{
    return arena_round(count * sizeof(float));
}

/* Bytes of the arena; with `run` also hands them out. One function, so that both agree. */
static size_t lay_out(nn_run_t *run, nn_span_t *spans, arena_t *arena)
{
    const nn_plan_t *plan = &run->plan;
    const nn_net_t *net = plan->net;
    const size_t threads = nn_threads_count(run->threads), batch = run->batch;
    const bool train = run->mode == NN_RUN_TRAIN;
    size_t total = 0;
#define TAKE(pointer, bytes)                                                                       \
    do {                                                                                           \
        size_t bytes_ = arena_round(bytes);                                                        \
        total += bytes_;                                                                           \
        if (arena)                                                                                 \
            (pointer) = arena_alloc(arena, bytes_);                                                \
    } while (0)
    TAKE(run->activations, net->tensor_count * sizeof(float *));
    TAKE(run->gradients, net->tensor_count * sizeof(float *));
    TAKE(run->masks, plan->step_count * sizeof(float *));
    TAKE(run->packed, floats(plan->packed_count));
    TAKE(run->scratch, threads * floats(plan->scratch_count));
    TAKE(run->sums, batch * 2 * plan->channel_max * sizeof(double));
    TAKE(run->mean, floats(plan->channel_count));
    TAKE(run->invstd, floats(plan->channel_count));
    TAKE(run->scale, floats(plan->channel_count));
    TAKE(run->batch_mean, plan->channel_count * sizeof(double));
    TAKE(run->batch_var, plan->channel_count * sizeof(double));
    if (train) {
        TAKE(run->partial, threads * floats(plan->packed_max));
        TAKE(run->spare, floats(batch * plan->spare_count));
        TAKE(run->mean_g, floats(plan->channel_max));
        TAKE(run->mean_gx, floats(plan->channel_max));
        TAKE(run->gradient, floats(net->float_count));
    }
    for (size_t s = 0; train && s < plan->step_count; s++)
        if (plan->steps[s].kind == NN_STEP_DROPOUT)
            TAKE(run->masks[s], floats(batch * nn_shape_count(plan->steps[s].out_shape)));
    for (int backward = 0; backward <= train; backward++) {
        float **buffers = backward ? run->gradients : run->activations, *base = NULL;
        if (backward)
            nn_plan_gradient_spans(spans, plan);
        else
            nn_plan_activation_spans(spans, plan);
        for (size_t t = 0; t < net->tensor_count; t++) {
            spans[t].count = floats(batch * spans[t].count) / sizeof(float);
            if (train && !backward) /* all are kept */
                spans[t].first = 0, spans[t].last = plan->step_count;
        }
        TAKE(base, floats(nn_spans_place(spans, net->tensor_count)));
        for (size_t t = 0; arena && t < net->tensor_count; t++)
            buffers[t] = spans[t].count ? base + spans[t].offset : NULL;
    }
#undef TAKE
    return total;
}

err_t nn_run_new(nn_run_t **out_run, const nn_net_t *net, nn_run_mode_t mode, size_t batch,
                 int threads)
{
    err_t err = ERR_OK;
    nn_span_t *spans = NULL;
    nn_run_t *run = nn_calloc(1, sizeof *run);
    *out_run = NULL;
    run->mode = mode;
    run->batch = batch;
    run->kernels = nn_kernels();
    if (batch < 1 || batch > 65536)
        FAIL(ERR_CONFIG, "batch of %zu pictures: 1 to 65536 are possible", batch);
    TRY(nn_plan_init(&run->plan, net, mode == NN_RUN_TRAIN));
    TRY(nn_threads_new(&run->threads, threads));
    spans = nn_calloc(net->tensor_count, sizeof *spans);
    size_t size = lay_out(run, spans, NULL);
    TRY(nn_arena_init(&run->arena, size));
    CHECK(lay_out(run, spans, &run->arena) == size);
    *out_run = run;
    run = NULL;
out:
    nn_free(spans);
    nn_run_destroy(&run);
    return err;
}

void nn_run_destroy(nn_run_t **run)
{
    if (!*run)
        return;
    nn_threads_destroy(&(*run)->threads);
    nn_plan_free(&(*run)->plan);
    arena_free(&(*run)->arena);
    nn_free(*run);
    *run = NULL;
}

size_t nn_run_norm_count(const nn_step_t *step, size_t n)
{
    return n * step->in_shape.height * step->in_shape.width;
}

void nn_run_mark(nn_run_t *run, size_t k)
{
    if (!run->times)
        return;
    double now = clock_monotonic_s();
    run->times[k] += now - run->marked;
    run->marked = now;
}

void nn_run_part(const nn_run_t *run, size_t part, size_t *first, size_t *end)
{
    size_t parts = nn_threads_count(run->threads);
    *first = run->n * part / parts;
    *end = run->n * (part + 1) / parts;
}

const float *nn_run_input(const nn_run_t *run, const nn_step_t *step, size_t picture)
{
    const float *from = step->in[0] == 0 ? run->x : run->activations[step->in[0]];
    return from + picture * nn_shape_count(step->in_shape);
}

const float *nn_run_values(const nn_run_t *run, int entry)
{
    return entry == NN_NONE ? NULL : run->state->values + run->plan.net->entries[entry].offset;
}

nn_norm_t nn_run_norm(const nn_run_t *run, const nn_step_t *step)
{
    return (nn_norm_t){.height = step->in_shape.height,
                       .width = step->in_shape.width,
                       .channels = step->in_shape.channels,
                       .pool = step->pool,
                       .low = step->low,
                       .high = step->high,
                       .mean = run->mean + step->channel,
                       .scale = run->scale + step->channel,
                       .invstd = run->invstd + step->channel,
                       .beta = nn_run_values(run, step->op->bias)};
}
