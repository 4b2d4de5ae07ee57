#include "nn/import.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static bool same_shape(const nn_tensor_info_t *t, const nn_entry_t *e)
{
    return t->rank == e->rank && !memcmp(t->shape, e->shape, e->rank * sizeof *e->shape);
}

/* The dense layer that writes the logits. */
static const nn_op_t *head_of(const nn_net_t *net)
{
    return &net->ops[net->op_count - 1];
}

static bool is_head(const nn_net_t *net, const nn_entry_t *e)
{
    return &net->ops[e->op] == head_of(net);
}

/* A head, of 1 class or more, whose tensors differ from the net's in their number alone. */
static bool other_classes(const nn_tensor_file_t *file, const nn_net_t *net, size_t *classes)
{
    const nn_entry_t *weight = &net->entries[head_of(net)->weight];
    const nn_entry_t *bias = &net->entries[head_of(net)->bias];
    const nn_tensor_info_t *w = nn_tensor_file_find(file, weight->name);
    const nn_tensor_info_t *b = nn_tensor_file_find(file, bias->name);
    if (!w || !b || w->rank != 2 || b->rank != 1 || w->shape[1] != weight->shape[1] ||
        w->shape[0] != b->shape[0] || w->shape[0] == 0)
        return false;
    *classes = w->shape[0];
    return true;
}

/* Class names "0", "1", ...: nobody gave any. */
static bool names_given(const nn_model_meta_t *meta)
{
    for (size_t i = 0; i < meta->arch.classes; i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        if (strcmp(meta->class_names[i], number))
            return true;
    }
    return false;
}

static err_t check_names(bool *differ, const nn_tensor_file_t *file, const nn_net_t *net,
                         const char *const *class_names)
{
    err_t err = ERR_OK;
    nn_model_meta_t meta = {0};
    bool found = false;
    *differ = false;
    TRY(nn_import_meta(&meta, &found, file));
    if (!found || !class_names || meta.arch.classes != net->arch.classes || !names_given(&meta))
        goto out;
    for (size_t i = 0; i < net->arch.classes; i++)
        *differ |= strcmp(meta.class_names[i], class_names[i]) != 0;
out:
    nn_model_meta_free(&meta);
    return err;
}

/* Problems are counted and the first is told: a file of another net has hundreds. */
typedef struct {
    char first[512];
    size_t count;
} problems_t;

#define PROBLEM(problems, ...)                                                                     \
    do {                                                                                           \
        if (!(problems)->count++)                                                                  \
            snprintf((problems)->first, sizeof(problems)->first, __VA_ARGS__);                     \
    } while (0)

static void check_entry(problems_t *problems, nn_import_report_t *report,
                        const nn_tensor_file_t *file, const nn_net_t *net, const nn_entry_t *e)
{
    const nn_tensor_info_t *t = nn_tensor_file_find(file, e->name);
    if (t && is_head(net, e) && report->head_drawn)
        return;
    if (!t && e->kind == NN_KIND_COUNTER) {
        report->counters_missing++;
    } else if (!t) {
        PROBLEM(problems, "tensor \"%s\" is missing", e->name);
    } else if (!same_shape(t, e)) {
        char found[SAFETENSORS_SHAPE_TEXT], expected[SAFETENSORS_SHAPE_TEXT];
        safetensors_shape_text(found, t->shape, t->rank);
        safetensors_shape_text(expected, e->shape, e->rank);
        PROBLEM(problems, "tensor \"%s\" has shape %s, expected %s", e->name, found, expected);
    }
}

static err_t check_tensors(nn_import_report_t *report, const nn_tensor_file_t *file,
                           const nn_net_t *net)
{
    err_t err = ERR_OK;
    problems_t problems = {0};
    for (size_t i = 0; i < net->entry_count; i++)
        check_entry(&problems, report, file, net, &net->entries[i]);
    for (size_t i = 0; i < nn_tensor_file_count(file); i++) {
        const char *name = nn_tensor_file_at(file, i)->name;
        char shown[SAFETENSORS_NAME_MAX];
        text_printable(shown, sizeof shown, name, strlen(name));
        if (nn_net_find(net, name) == NN_NONE)
            PROBLEM(&problems, "tensor \"%s\" does not belong to a %s", shown, net->arch.name);
    }
    if (problems.count > 1)
        FAIL(ERR_FORMAT, "%s: %s; %zu more tensor%s do%s not fit a %s of width %g and %zu pixels",
             nn_tensor_file_path(file), problems.first, problems.count - 1,
             problems.count == 2 ? "" : "s", problems.count == 2 ? "es" : "", net->arch.name,
             net->arch.width, net->arch.input);
    if (problems.count)
        FAIL(ERR_FORMAT, "%s: %s", nn_tensor_file_path(file), problems.first);
out:
    return err;
}

static err_t read_entry(nn_state_t *state, nn_tensor_file_t *file, const nn_entry_t *e,
                        const nn_tensor_info_t *t)
{
    err_t err = ERR_OK;
    const char *path = nn_tensor_file_path(file);
    if (e->kind == NN_KIND_COUNTER) {
        int64_t *counter = state->counters + e->offset;
        TRY(nn_tensor_file_integer(counter, file, t));
        TRY(nn_model_check_counter(path, e->name, *counter));
    } else {
        float *values = state->values + e->offset;
        TRY(nn_tensor_file_floats(values, file, t));
        TRY(nn_model_check_values(path, e->name, e->kind, values, e->count));
    }
out:
    return err;
}

err_t nn_import_state(nn_state_t *state, nn_import_report_t *report, nn_tensor_file_t *file,
                      const char *const *class_names, uint64_t seed)
{
    err_t err = ERR_OK;
    const nn_net_t *net = state->net;
    *report = (nn_import_report_t){.file_classes = net->arch.classes};
    TRY(check_names(&report->head_names, file, net, class_names));
    report->head_drawn = other_classes(file, net, &report->file_classes) &&
                         (report->file_classes != net->arch.classes || report->head_names);
    TRY(check_tensors(report, file, net));
    nn_state_draw(state, seed);
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        const nn_tensor_info_t *t = nn_tensor_file_find(file, e->name);
        if (t && !(is_head(net, e) && report->head_drawn))
            TRY(read_entry(state, file, e, t));
    }
out:
    return err;
}

err_t nn_import_meta(nn_model_meta_t *meta, bool *found, const nn_tensor_file_t *file)
{
    err_t err = ERR_OK;
    const safetensors_t *st = nn_tensor_file_safetensors(file);
    const char *format = st ? safetensors_metadata(st, "format") : NULL;
    *meta = (nn_model_meta_t){0};
    /* "pt" is what PyTorch's own writer puts there. */
    *found = format && !strncmp(format, "hearsay-", 8);
    if (!*found)
        return ERR_OK;
    TRY(nn_model_meta_get(meta, st));
    if (strcmp(meta->precision, "fp32")) {
        char shown[16];
        text_printable(shown, sizeof shown, meta->precision, strlen(meta->precision));
        nn_model_meta_free(meta);
        *found = false;
        FAIL(ERR_FORMAT, "%s: precision is \"%s\": import the FP32 model that it was made from",
             nn_tensor_file_path(file), shown);
    }
out:
    return err;
}
