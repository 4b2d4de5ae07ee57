#include "nn/run.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "nn/bottleneck.h"

static size_t floats(size_t count)
{
    return arena_round(count * sizeof(float));
}

/* Floats of scratch a thread needs. */
static size_t scratch_count(const nn_run_t *run)
{
    const nn_plan_t *plan = &run->plan;
    size_t most = plan->scratch_count;
    for (size_t s = 0; s < plan->step_count; s++) {
        size_t count = plan->steps[s].kind == NN_STEP_BOTTLENECK
                           ? nn_bottleneck_scratch(run, &plan->steps[s])
                           : 0;
        most = count > most ? count : most;
    }
    return floats(most) / sizeof(float);
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
    TAKE(run->scratch, threads * floats(run->scratch_count));
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
    TAKE(run->kept, plan->step_count * sizeof *run->kept);
    size_t most[NN_KEPT_COUNT] = {0};
    for (size_t s = 0; run->mode != NN_RUN_INFER && s < plan->step_count; s++) {
        size_t counts[NN_KEPT_COUNT] = {0};
        if (plan->steps[s].kind == NN_STEP_BOTTLENECK)
            nn_bottleneck_kept(counts, run, &plan->steps[s]);
        for (int k = 0; k < NN_KEPT_COUNT; k++) {
            bool gradient = plan->steps[s].kind == NN_STEP_BOTTLENECK && k == NN_KEPT_FILTERED &&
                            plan->steps[s].block.recompute && train;
            most[k] = counts[k] > most[k] && !gradient ? counts[k] : most[k];
            if (train && counts[k])
                TAKE(run->kept[s].buffers[k], floats(counts[k]));
        }
    }
    for (int k = 0; !train && k < NN_KEPT_COUNT; k++) { /* one after another in the same place */
        float *shared = NULL;
        TAKE(shared, floats(most[k]));
        for (size_t s = 0; arena && s < plan->step_count; s++)
            run->kept[s].buffers[k] = shared;
    }
    for (int k = 0; train && k < 2; k++)
        TAKE(run->wide[k], floats(most[k == 0 ? NN_KEPT_FILTERED : NN_KEPT_EXPANDED]));
    if (train)
        TAKE(run->narrow, floats(most[NN_KEPT_PROJECTED]));
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
    run->scratch_count = scratch_count(run);
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

nn_norm_t nn_run_norm(const nn_run_t *run, const nn_norm_site_t *site)
{
    return (nn_norm_t){.channels = site->channels,
                       .low = site->low,
                       .high = site->high,
                       .mean = run->mean + site->channel,
                       .scale = run->scale + site->channel,
                       .invstd = run->invstd + site->channel,
                       .beta = nn_run_values(run, site->op->bias)};
}

nn_norm_t nn_run_norm_step(const nn_run_t *run, const nn_step_t *step)
{
    nn_norm_t norm = nn_run_norm(run, &run->plan.norms[step->site[0]]);
    norm.height = step->in_shape.height;
    norm.width = step->in_shape.width;
    norm.pool = step->pool;
    return norm;
}

float *nn_run_gradient(const nn_run_t *run, int entry)
{
    return entry == NN_NONE ? NULL : run->gradient + run->plan.net->entries[entry].offset;
}

float *nn_run_scratch(const nn_run_t *run, size_t part)
{
    return run->scratch + part * run->scratch_count;
}

float *nn_run_partial(const nn_run_t *run, size_t part)
{
    return run->partial + part * (floats(run->plan.packed_max) / sizeof(float));
}

float *nn_run_collect_partial(nn_run_t *run, size_t count)
{
    for (size_t part = 1; part < nn_threads_count(run->threads); part++)
        run->kernels->add(run->partial, nn_run_partial(run, part), count);
    return run->partial;
}

/* Chan, Golub, LeVeque 1979. */
void nn_run_merge_moments(nn_run_t *run, const nn_norm_site_t *site, size_t pictures)
{
    const size_t C = site->channels, parts = (run->n + pictures - 1) / pictures;
    const double rows = (double)(run->n * site->rows);
    double *mean = run->batch_mean + site->channel, *var = run->batch_var + site->channel;
    memset(mean, 0, C * sizeof *mean);
    memset(var, 0, C * sizeof *var);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < parts; i++) {
            size_t left = run->n - i * pictures;
            double count = (double)((left < pictures ? left : pictures) * site->rows);
            const double *means = run->sums + i * 2 * C, *squares = means + C;
            for (size_t c = 0; pass == 0 && c < C; c++)
                mean[c] += count / rows * means[c];
            for (size_t c = 0; pass == 1 && c < C; c++) {
                double d = means[c] - mean[c];
                var[c] += (squares[c] + count * d * d) / rows;
            }
        }
    }
}

void nn_run_set_norm(nn_run_t *run, const nn_norm_site_t *site)
{
    const float *gamma = nn_run_values(run, site->op->weight);
    const float *running_mean = nn_run_values(run, site->op->running_mean);
    const float *running_var = nn_run_values(run, site->op->running_var);
    const bool running = run->mode == NN_RUN_INFER;
    for (size_t c = 0; c < site->channels; c++) {
        size_t at = site->channel + c;
        double mean = running ? (double)running_mean[c] : run->batch_mean[at];
        double var = running ? (double)running_var[c] : run->batch_var[at];
        double invstd = 1.0 / sqrt(var + (double)site->op->epsilon);
        run->mean[at] = (float)mean;
        run->invstd[at] = (float)invstd;
        run->scale[at] = (float)((double)gamma[c] * invstd);
    }
}

void nn_run_collect_norm(nn_run_t *run, const nn_norm_site_t *site, size_t parts)
{
    const size_t C = site->channels;
    const double count = (double)(run->n * site->rows);
    float *gamma = nn_run_gradient(run, site->op->weight);
    float *beta = nn_run_gradient(run, site->op->bias);
    double *g = run->sums, *gx = run->sums + C; /* into the first part's */
    for (size_t i = 1; i < parts; i++) {
        for (size_t c = 0; c < C; c++) {
            g[c] += run->sums[i * 2 * C + c];
            gx[c] += run->sums[(i * 2 + 1) * C + c];
        }
    }
    for (size_t c = 0; c < C; c++) {
        beta[c] = (float)g[c];
        gamma[c] = (float)gx[c];
        run->mean_g[c] = (float)(g[c] / count);
        run->mean_gx[c] = (float)(gx[c] / count);
    }
}
