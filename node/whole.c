#include "node/whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"

/* Data that could not be opened with the model's classes: names a class that the model lacks. Hands
 * on the first message when that is not it. */
static err_t check_classes(const char *spec, const nn_model_meta_t *meta, const char *model_path)
{
    err_t err = ERR_CONFIG;
    data_source_t *source = NULL;
    char list[256] = "", *first = xstrdup(err_message());
    size_t n = 0;
    for (size_t c = 0; meta->class_names && c < meta->arch.classes && n < sizeof list; c++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", c ? ", " : "",
                              meta->class_names[c]);
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

err_t node_load_whole(data_set_t *set, const char *spec, const nn_model_meta_t *meta,
                      const char *model_path)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    uint32_t *indices = NULL;
    size_t skipped, names = meta->class_names ? meta->arch.classes : 0;
    *set = (data_set_t){0};
    if (!spec)
        FAIL(ERR_USAGE, "which pictures? --data folder:DIR, --data cifar10:DIR:test or "
                        "--data synthetic:SEED");
    err = data_source_open(&source, spec, (const char *const *)meta->class_names, names);
    if (err == ERR_CONFIG)
        TRY(check_classes(spec, meta, model_path));
    TRY(err);
    if (data_source_class_count(source) != meta->arch.classes)
        FAIL(ERR_CONFIG, "%s has %zu classes, %s has %zu: give pictures of the same classes",
             model_path, meta->arch.classes, spec, data_source_class_count(source));
    size_t count = data_source_count(source);
    indices = malloc(count * sizeof *indices + 1);
    if (!indices)
        FAIL(ERR_MEMORY, "not enough memory for %zu pictures", count);
    for (size_t i = 0; i < count; i++)
        indices[i] = (uint32_t)i;
    TRY(data_source_load(set, &skipped, source, indices, count, meta->arch.input, DATA_BAD_STOP));
out:
    free(indices);
    data_source_close(&source);
    return err;
}

int node_threads(int wanted)
{
    return wanted ? wanted : cpu_count();
}
