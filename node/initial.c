#include "node/initial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "nn/import.h"

/* What a hearsay model file says of its use that the configuration does not: nothing fails, the
 * weights fit; but they were trained for something else. */
static err_t compare_meta(const nn_tensor_file_t *file, const node_config_t *config,
                          const nn_arch_t *arch)
{
    err_t err = ERR_OK;
    nn_model_meta_t meta;
    bool found;
    TRY(nn_import_meta(&meta, &found, file));
    if (!found)
        return ERR_OK;
    if (strcmp(meta.arch.strides, arch->strides))
        log_warn("init_strides", "text=\"%s was trained with strides %s, model.strides is %s\"",
                 nn_tensor_file_path(file), meta.arch.strides, arch->strides);
    if (memcmp(&meta.normalisation, &config->data.normalisation, sizeof meta.normalisation))
        log_warn("init_normalisation",
                 "text=\"%s was trained with another normalisation than data.mean and data.std: "
                 "set them to %g %g %g and %g %g %g\"",
                 nn_tensor_file_path(file), (double)meta.normalisation.mean[0],
                 (double)meta.normalisation.mean[1], (double)meta.normalisation.mean[2],
                 (double)meta.normalisation.std[0], (double)meta.normalisation.std[1],
                 (double)meta.normalisation.std[2]);
    nn_model_meta_free(&meta);
out:
    return err;
}

/* "m.pth, PyTorch, sha256 0123456789ab; its head of 1000 classes is replaced by one of 10" */
static char *describe(const nn_tensor_file_t *file, const nn_import_report_t *report,
                      const hash_t *digest, size_t classes)
{
    char hex[HASH_HEX];
    hash_hex(hex, digest);
    char *head = !report->head_drawn ? xstrdup("")
                                     : xasprintf("; its head of %zu classes%s is replaced by a new "
                                                 "one of %zu",
                                                 report->file_classes,
                                                 report->head_names ? " with other names" : "",
                                                 classes);
    char *text = xasprintf("%s, %s, sha256 %.16s%s", nn_tensor_file_path(file),
                           nn_tensor_file_format(file), hex, head);
    free(head);
    return text;
}

static err_t read_file(node_initial_t *initial, const node_config_t *config,
                       const char *const *class_names)
{
    err_t err = ERR_OK;
    nn_tensor_file_t *file = NULL;
    nn_import_report_t report;
    const nn_net_t *net = initial->state.net;
    TRY(nn_tensor_file_open(&file, config->init));
    TRY(compare_meta(file, config, &net->arch));
    TRY(nn_import_state(&initial->state, &report, file, class_names, config->seed));
    /* Of the bytes that were read, not of the path: the file may be replaced in between. */
    initial->digest = nn_tensor_file_digest(file);
    initial->text = describe(file, &report, &initial->digest, net->arch.classes);
    log_info("init", "text=\"%s\"", initial->text);
out:
    nn_tensor_file_close(&file);
    return err ? err_prefix(err, "model.init") : ERR_OK;
}

err_t node_initial_init(node_initial_t *initial, const node_config_t *config, const nn_net_t *net,
                        const char *const *class_names)
{
    err_t err = ERR_OK;
    *initial = (node_initial_t){0};
    TRY(nn_state_init(&initial->state, net));
    if (config->init)
        TRY(read_file(initial, config, class_names));
    else
        nn_state_draw(&initial->state, config->seed);
    return ERR_OK;
out:
    node_initial_free(initial);
    return err;
}

void node_initial_digest(char out[HASH_HEX], const node_initial_t *initial)
{
    if (initial->text)
        hash_hex(out, &initial->digest);
    else
        snprintf(out, HASH_HEX, "drawn");
}

err_t node_initial_check_resume(const node_config_t *config)
{
    if (!config->init || file_exists(config->init))
        return ERR_OK;
    return err_set(ERR_IO, "model.init: %s is missing: this run began from it; put it back",
                   config->init);
}

void node_initial_free(node_initial_t *initial)
{
    nn_state_free(&initial->state);
    free(initial->text);
    *initial = (node_initial_t){0};
}
