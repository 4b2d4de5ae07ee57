#include "node/whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/text.h"
#include "data/batch.h"
#include "nn/threads.h"
#include "node/interrupt.h"

/* Data that could not be opened with the model's classes: names a class that the model lacks. Hands
 * on the first message when that is not it. */
static err_t check_classes(const char *spec, const nn_model_meta_t *meta, const char *model_path)
{
    err_t err = ERR_CONFIG;
    data_source_t *source = NULL;
    char list[256] = "", *first = xstrdup(err_message());
    size_t n = 0;
    for (size_t c = 0; meta->class_names && c < meta->arch.classes && n < sizeof list; c++) {
        char *name = text_shown(meta->class_names[c]);
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", c ? ", " : "", name);
        free(name);
    }
    if (n >= sizeof list)
        memcpy(list + sizeof list - 5, " ...", 5);
    if (!meta->class_names || data_source_open(&source, spec, NULL, 0))
        FAIL(ERR_CONFIG, "%s", first);
    for (size_t k = 0; k < data_source_class_count(source); k++) {
        const char *name = data_source_class_names(source)[k];
        bool known = false;
        for (size_t c = 0; c < meta->arch.classes && !known; c++)
            known = !strcmp(meta->class_names[c], name);
        if (!known)
            FAIL(ERR_CONFIG, "%s has the class %s, which %s does not know; its classes are %s",
                 spec, name, model_path, list);
    }
    FAIL(ERR_CONFIG, "%s", first);
out:
    data_source_close(&source);
    free(first);
    return err;
}

/* Opens `spec` with the model's classes. */
static err_t open_fitting(data_source_t **source, const char *spec, const nn_model_meta_t *meta,
                          const char *model_path)
{
    err_t err = ERR_OK;
    size_t names = meta->class_names ? meta->arch.classes : 0;
    if (!spec)
        FAIL(ERR_USAGE, "which pictures? --data folder:DIR, --data cifar10:DIR:test or "
                        "--data synthetic:SEED");
    err = data_source_open(source, spec, (const char *const *)meta->class_names, names);
    if (err == ERR_CONFIG)
        TRY(check_classes(spec, meta, model_path));
    TRY(err);
    if (data_source_class_count(*source) != meta->arch.classes)
        FAIL(ERR_CONFIG, "%s has %zu classes, %s has %zu: give pictures of the same classes",
             model_path, meta->arch.classes, spec, data_source_class_count(*source));
out:
    return err;
}

/* 0, 1, 2 and so on; the caller frees. NULL: no memory. */
static uint32_t *all_of(const data_source_t *source)
{
    size_t count = data_source_count(source);
    uint32_t *indices = malloc(count * sizeof *indices + 1);
    for (size_t i = 0; indices && i < count; i++)
        indices[i] = (uint32_t)i;
    return indices;
}

static int rising(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Decodes pictures `indices` in rising order. */
static err_t load_sorted(data_set_t *set, const data_source_t *source, uint32_t *indices,
                         size_t count, const nn_model_meta_t *meta)
{
    size_t skipped;
    qsort(indices, count, sizeof *indices, rising);
    return data_source_load(set, &skipped, source, indices, count, meta->arch.input, DATA_BAD_STOP,
                            &node_interrupted);
}

err_t node_load_whole(data_set_t *set, const char *spec, const nn_model_meta_t *meta,
                      const char *model_path)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    uint32_t *indices = NULL;
    *set = (data_set_t){0};
    TRY(open_fitting(&source, spec, meta, model_path));
    indices = all_of(source);
    if (!indices)
        FAIL(ERR_MEMORY, "not enough memory for %zu pictures", data_source_count(source));
    TRY(load_sorted(set, source, indices, data_source_count(source), meta));
out:
    free(indices);
    data_source_close(&source);
    return err;
}

/* Opens `spec` and draws: the first `apart` of the indices are a tenth. */
static err_t draw_tenth(data_source_t **source, uint32_t **indices, size_t *apart, const char *spec,
                        const nn_model_meta_t *meta, const char *model_path, uint64_t seed)
{
    err_t err = ERR_OK;
    TRY(open_fitting(source, spec, meta, model_path));
    size_t count = data_source_count(*source);
    *apart = count / 10 < 2 ? 2 : count / 10;
    if (count <= *apart)
        FAIL(ERR_CONFIG,
             "%s has %zu picture%s, too few to set some apart to calibrate int8 on: name others "
             "with --calibration-data SPEC",
             spec, count, count == 1 ? "" : "s");
    *indices = all_of(*source);
    if (!*indices)
        FAIL(ERR_MEMORY, "not enough memory for %zu pictures", count);
    data_calibration_shuffle(*indices, count, seed, 0);
out:
    return err;
}

err_t node_load_apart(data_set_t *test, data_set_t *calibration, const char *spec,
                      const nn_model_meta_t *meta, const char *model_path, size_t samples,
                      uint64_t seed)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    uint32_t *indices = NULL;
    size_t apart;
    *test = *calibration = (data_set_t){0};
    TRY(draw_tenth(&source, &indices, &apart, spec, meta, model_path, seed));
    size_t rest = data_source_count(source) - apart;
    TRY(load_sorted(calibration, source, indices, apart < samples ? apart : samples, meta));
    TRY(load_sorted(test, source, indices + apart, rest, meta));
out:
    free(indices);
    data_source_close(&source);
    return err;
}

err_t node_load_tenth(data_set_t *set, const char *spec, const nn_model_meta_t *meta,
                      const char *model_path, uint64_t seed)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    uint32_t *indices = NULL;
    size_t apart;
    *set = (data_set_t){0};
    TRY(draw_tenth(&source, &indices, &apart, spec, meta, model_path, seed));
    TRY(load_sorted(set, source, indices, apart, meta));
out:
    free(indices);
    data_source_close(&source);
    return err;
}

err_t node_load_drawn(data_set_t *set, const char *spec, const nn_model_meta_t *meta,
                      const char *model_path, size_t samples, uint64_t seed)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    uint32_t *indices = NULL;
    *set = (data_set_t){0};
    TRY(open_fitting(&source, spec, meta, model_path));
    size_t count = data_source_count(source);
    indices = all_of(source);
    if (!indices)
        FAIL(ERR_MEMORY, "not enough memory for %zu pictures", count);
    data_calibration_shuffle(indices, count, seed, 0);
    TRY(load_sorted(set, source, indices, count < samples ? count : samples, meta));
out:
    free(indices);
    data_source_close(&source);
    return err;
}

int node_threads(int wanted)
{
    return wanted ? wanted : cpu_count() < NN_THREADS_MAX ? cpu_count() : NN_THREADS_MAX;
}
