/* A model of any precision over a whole set. */
#include <stdlib.h>

#include "quant/quant.h"

enum { BATCH_MOST = 64 };

static err_t check_set(const nn_arch_t *arch, const data_set_t *set)
{
    err_t err = ERR_OK;
    if (set->count == 0)
        FAIL(ERR_CONFIG, "there are no pictures to evaluate the model on");
    if (set->height != arch->input || set->width != arch->input)
        FAIL(ERR_CONFIG, "pictures of %zux%zu for a model that takes %zux%zu", set->width,
             set->height, arch->input, arch->input);
    if (set->class_count != arch->classes)
        FAIL(ERR_CONFIG, "data of %zu classes for a model of %zu", set->class_count, arch->classes);
out:
    return err;
}

err_t quant_run_set(float *logits, quant_runner_t *runner, const data_set_t *set,
                    const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    const nn_model_meta_t *meta = quant_meta(runner);
    size_t batch = quant_batch(runner) < BATCH_MOST ? quant_batch(runner) : BATCH_MOST;
    float *x = NULL;
    uint32_t order[BATCH_MOST];
    int32_t labels[BATCH_MOST];
    TRY(check_set(&meta->arch, set));
    x = xcalloc(batch * set->height * set->width * DATA_CHANNELS, sizeof *x);
    for (size_t done = 0; done < set->count; done += batch) {
        size_t n = set->count - done < batch ? set->count - done : batch;
        if (interrupted && *interrupted)
            FAIL(ERR_REFUSED, "evaluation interrupted after %zu of %zu pictures", done, set->count);
        for (size_t i = 0; i < n; i++)
            order[i] = (uint32_t)(done + i);
        data_batch(x, labels, set, order, n, &meta->normalisation, NULL, NULL);
        quant_run(runner, logits + done * meta->arch.classes, x, n);
    }
out:
    free(x);
    return err;
}

err_t quant_evaluate(quant_measures_t *measures, quant_runner_t *runner, const data_set_t *set,
                     const volatile bool *interrupted)
{
    err_t err = ERR_OK;
    size_t classes = quant_meta(runner)->arch.classes;
    *measures = (quant_measures_t){0};
    float *logits = xcalloc(set->count * classes + 1, sizeof *logits);
    TRY(quant_run_set(logits, runner, set, interrupted));
    TRY(quant_measure(measures, logits, set->labels, set->count, classes));
out:
    free(logits);
    return err;
}
