#include "nn/infer.h"

#include <math.h>
#include <string.h>

#include "nn/run.h"

struct nn_infer_s {
    nn_run_t *run;
    size_t
        batch; /* most pictures a call; the run takes fewer at once, so that they stay in cache */
};

/* Pictures a thread works on at once: so many that a layer's weights are worth their loads, so few
 * that the largest activations stay in cache. */
enum { CHUNK_MIN = 8, CHUNK_MAX = 64, CHUNK_BYTES = 4 << 20 };

static err_t chunk_of(size_t *chunk, const nn_net_t *net)
{
    err_t err = ERR_OK;
    nn_plan_t plan;
    size_t most = 1;
    TRY(nn_plan_init(&plan, net, false));
    for (size_t s = 0; s < plan.step_count; s++) {
        size_t bytes = nn_shape_count(plan.steps[s].out_shape) * sizeof(float);
        most = bytes > most ? bytes : most;
    }
    nn_plan_free(&plan);
    *chunk = CHUNK_BYTES / most;
    *chunk = *chunk < CHUNK_MIN ? CHUNK_MIN : *chunk > CHUNK_MAX ? CHUNK_MAX : *chunk;
out:
    return err;
}

err_t nn_infer_new(nn_infer_t **infer, const nn_net_t *net, size_t batch, int threads)
{
    err_t err = ERR_OK;
    nn_infer_t *f = nn_calloc(1, sizeof *f);
    size_t chunk;
    *infer = NULL;
    f->batch = batch;
    TRY(chunk_of(&chunk, net));
    chunk *= threads > 0 ? (size_t)threads : 1;
    TRY(nn_run_new(&f->run, net, NN_RUN_INFER, batch < chunk ? batch : chunk, threads));
    *infer = f;
    f = NULL;
out:
    nn_infer_destroy(&f);
    return err;
}

void nn_infer_destroy(nn_infer_t **infer)
{
    if (!*infer)
        return;
    nn_run_destroy(&(*infer)->run);
    nn_free(*infer);
    *infer = NULL;
}

nn_run_t *nn_infer_inner_run(const nn_infer_t *infer)
{
    return infer->run;
}

void nn_infer_pack(nn_infer_t *infer, const nn_state_t *state)
{
    CHECK(state->net->float_count == infer->run->plan.net->float_count);
    nn_run_pack(infer->run, state);
}

void nn_infer_run_packed(nn_infer_t *infer, float *logits, const nn_state_t *state, const float *x,
                         size_t n)
{
    CHECK(n <= infer->batch);
    const nn_net_t *net = infer->run->plan.net;
    const size_t picture = nn_shape_count(net->tensors[0]), classes = net->arch.classes;
    for (size_t done = 0; done < n;) {
        size_t now = n - done < infer->run->batch ? n - done : infer->run->batch;
        const float *from = nn_run_forward_packed(infer->run, state, x + done * picture, now, NULL);
        memcpy(logits + done * classes, from, now * classes * sizeof *logits);
        done += now;
    }
}

void nn_infer_run(nn_infer_t *infer, float *logits, const nn_state_t *state, const float *x,
                  size_t n)
{
    nn_infer_pack(infer, state);
    nn_infer_run_packed(infer, logits, state, x, n);
}

void nn_softmax(float *p, const float *logits, size_t n, size_t classes)
{
    for (size_t i = 0; i < n; i++) {
        const float *z = logits + i * classes;
        float *out = p + i * classes;
        float top = z[0];
        double sum = 0;
        for (size_t c = 1; c < classes; c++)
            top = z[c] > top ? z[c] : top;
        for (size_t c = 0; c < classes; c++) {
            double e = exp((double)z[c] - (double)top);
            sum += e;
            out[c] = (float)e;
        }
        for (size_t c = 0; c < classes; c++)
            out[c] = (float)((double)out[c] / sum);
    }
}

void nn_metrics_free(nn_metrics_t *metrics)
{
    nn_free(metrics->confusion);
    *metrics = (nn_metrics_t){0};
}

/* Adds pictures first .. first+n-1 to the metrics; loss and accuracy are sums until the end. */
static void add_batch(nn_metrics_t *m, const float *logits, const int32_t *labels, size_t n)
{
    size_t correct = 0;
    m->loss += nn_cross_entropy(NULL, &correct, logits, labels, n, m->classes, 0);
    m->accuracy += (double)correct;
    m->samples += n;
    for (size_t i = 0; i < n; i++) {
        const float *z = logits + i * m->classes;
        size_t best = 0;
        for (size_t c = 1; c < m->classes; c++)
            if (z[c] > z[best])
                best = c;
        m->confusion[(size_t)labels[i] * m->classes + best]++;
    }
}

err_t nn_evaluate(nn_metrics_t *metrics, nn_infer_t *infer, const nn_state_t *state,
                  const data_set_t *set, const data_normalisation_t *normalisation,
                  const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    const nn_net_t *net = infer->run->plan.net;
    const size_t classes = net->arch.classes, batch = infer->run->batch;
    float *x = nn_aligned(batch * nn_shape_count(net->tensors[0]) * sizeof *x);
    float *logits = nn_aligned(batch * classes * sizeof *logits);
    int32_t *labels = nn_aligned(batch * sizeof *labels);
    uint32_t *order = nn_aligned(batch * sizeof *order);
    *metrics = (nn_metrics_t){.classes = classes};
    metrics->confusion = nn_calloc(classes * classes, sizeof *metrics->confusion);
    if (!x || !logits || !labels || !order)
        FAIL(ERR_MEMORY, "no memory for a batch of %zu pictures", batch);
    if (set->height != net->arch.input || set->width != net->arch.input)
        FAIL(ERR_CONFIG, "pictures of %zu x %zu for a model of %zu x %zu", set->width, set->height,
             net->arch.input, net->arch.input);
    if (set->count == 0 || set->class_count > classes)
        FAIL(ERR_CONFIG, "%zu pictures of %zu classes for a model of %zu classes", set->count,
             set->class_count, classes);
    nn_run_pack(infer->run, state);
    for (size_t done = 0; done < set->count; done += batch) {
        size_t n = set->count - done < batch ? set->count - done : batch;
        if (interrupted && *interrupted)
            FAIL(ERR_REFUSED, "evaluation interrupted after %zu of %zu pictures", done, set->count);
        for (size_t i = 0; i < n; i++)
            order[i] = (uint32_t)(done + i);
        data_batch(x, labels, set, order, n, normalisation, NULL, NULL);
        nn_infer_run_packed(infer, logits, state, x, n);
        add_batch(metrics, logits, labels, n);
    }
    metrics->loss /= (double)metrics->samples;
    metrics->accuracy /= (double)metrics->samples;
out:
    nn_free(x);
    nn_free(logits);
    nn_free(labels);
    nn_free(order);
    if (err)
        nn_metrics_free(metrics);
    return err;
}
