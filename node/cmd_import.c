/* hearsay import FILE MODEL: a PyTorch checkpoint, or safetensors from elsewhere, as a model. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "nn/import.h"
#include "nn/json_text.h"
#include "node/commands.h"
#include "node/json_print.h"

enum { SEED = 1 }; /* when --seed is not given, as in a configuration */

typedef struct {
    nn_tensor_file_t *file;
    uint64_t seed;
    nn_net_t *net;
    nn_state_t state;
    nn_model_meta_t meta; /* of what is written */
    nn_import_report_t report;
    double dropout; /* of one of our own files; below 0: another's, which does not say */
} import_t;

/* "airport,beach" or "10"; nothing: the file's. */
static err_t take_classes(nn_model_meta_t *meta, const char *text)
{
    err_t err = ERR_OK;
    uint64_t count = 0;
    bool number = text_to_u64(&count, text);
    char *copy = xstrdup(text), *rest = copy;
    if (!number)
        for (const char *at = text; at; at = strchr(at, ','), at = at ? at + 1 : NULL)
            count++;
    if (count < 2 || count > NN_CLASSES_MAX)
        FAIL(ERR_USAGE, "--classes %s: give their number, 2 to %d, or their names with commas",
             text, NN_CLASSES_MAX);
    meta->arch.classes = (size_t)count;
    if (number)
        goto out;
    meta->class_names = xcalloc(meta->arch.classes, sizeof *meta->class_names);
    for (size_t i = 0; i < meta->arch.classes; i++) {
        const char *name = strsep(&rest, ",");
        for (size_t k = 0; k < i; k++)
            if (!strcmp(meta->class_names[k], name))
                FAIL(ERR_USAGE, "--classes: %s is there twice", name);
        if (!*name || strlen(name) > 255)
            FAIL(ERR_USAGE, "--classes: name %zu is not of 1 to 255 bytes", i + 1);
        meta->class_names[i] = xstrdup(name);
    }
out:
    free(copy);
    return err;
}

/* "0.5,0.5,0.5", or "imagenet" for the numbers that torchvision's weights go with. */
static err_t take_channels(float out[DATA_CHANNELS], const char *option, const char *text,
                           const float imagenet[DATA_CHANNELS], double above)
{
    err_t err = ERR_OK;
    char *copy = xstrdup(text), *rest = copy;
    if (!strcmp(text, "imagenet")) {
        memcpy(out, imagenet, DATA_CHANNELS * sizeof *out);
        goto out;
    }
    for (int i = 0; i < DATA_CHANNELS; i++) {
        double value = 0.0;
        const char *part = strsep(&rest, ",");
        if (!part || !text_to_double(&value, part) || !(value > above) || value > 10.0 ||
            (i == DATA_CHANNELS - 1 && rest))
            FAIL(ERR_USAGE, "%s %s: give three numbers with commas, or imagenet", option, text);
        out[i] = (float)value;
    }
out:
    free(copy);
    return err;
}

static err_t take_normalisation(data_normalisation_t *norm, const node_args_t *args)
{
    static const float mean[] = {0.485f, 0.456f, 0.406f}, std[] = {0.229f, 0.224f, 0.225f};
    err_t err = ERR_OK;
    if (!args->mean != !args->std)
        FAIL(ERR_USAGE, "--mean and --std go together: give both or neither");
    if (args->mean) {
        TRY(take_channels(norm->mean, "--mean", args->mean, mean, -10.0));
        TRY(take_channels(norm->std, "--std", args->std, std, 0.0));
    }
out:
    return err;
}

/* What the options say, over what the file's metadata says when it is one of ours. */
static err_t take_options(import_t *import, const node_args_t *args)
{
    err_t err = ERR_OK;
    nn_model_meta_t *meta = &import->meta, found_meta = {0};
    bool found = false;
    meta->normalisation = data_normalisation_default();
    snprintf(meta->precision, sizeof meta->precision, "fp32");
    if (args->classes)
        TRY(take_classes(meta, args->classes));
    TRY(nn_import_meta(&found_meta, &found, import->file));
    if (found) {
        meta->normalisation = found_meta.normalisation;
        meta->arch.input = found_meta.arch.input;
        import->dropout = found_meta.arch.dropout;
        memcpy(meta->arch.strides, found_meta.arch.strides, sizeof meta->arch.strides);
        if (!args->classes) {
            meta->arch.classes = found_meta.arch.classes;
            meta->class_names = found_meta.class_names;
            found_meta.class_names = NULL;
        }
    }
    if (args->strides && strcmp(args->strides, "imagenet") && strcmp(args->strides, "small"))
        FAIL(ERR_USAGE, "--strides %s: imagenet or small", args->strides);
    if (args->strides)
        snprintf(meta->arch.strides, sizeof meta->arch.strides, "%s", args->strides);
    if (args->input)
        meta->arch.input = args->input > 1024 ? 1025 : (size_t)args->input;
    TRY(take_normalisation(&meta->normalisation, args));
out:
    nn_model_meta_free(&found_meta);
    return err;
}

static void print_text(const import_t *import, const node_args_t *args)
{
    const nn_arch_t *arch = &import->net->arch;
    const nn_tensor_file_t *file = import->file;
    const nn_import_report_t *report = &import->report;
    const data_normalisation_t *norm = &import->meta.normalisation;
    printf("%s: %s of width %g%s%s, %zux%zu pixels, %zu classes, %zu parameters\n",
           args->positional[1], arch->name, arch->width, *arch->strides ? ", strides " : "",
           arch->strides, arch->input, arch->input, arch->classes, import->net->trainable_count);
    printf("from: %zu tensors of %s, %s", nn_tensor_file_count(file), args->positional[0],
           nn_tensor_file_format(file));
    if (*nn_tensor_file_wrapper(file))
        printf(", under \"%s\"", nn_tensor_file_wrapper(file));
    if (*nn_tensor_file_prefix(file))
        printf(", \"%s\" taken off every name", nn_tensor_file_prefix(file));
    printf("\nnormalisation: mean %g %g %g, std %g %g %g\n", (double)norm->mean[0],
           (double)norm->mean[1], (double)norm->mean[2], (double)norm->std[0], (double)norm->std[1],
           (double)norm->std[2]);
    if (report->counters_missing)
        printf("counters: %zu num_batches_tracked are not in the file and become 0\n",
               report->counters_missing);
    if (report->head_drawn)
        printf("head: the file's, of %zu classes%s, is left; one of %zu classes is drawn from seed "
               "%llu and wants training\n",
               report->file_classes, report->head_names ? " with other names" : "", arch->classes,
               (unsigned long long)import->seed);
}

static void print_json(const import_t *import, const node_args_t *args)
{
    const nn_arch_t *arch = &import->net->arch;
    const nn_tensor_file_t *file = import->file;
    char hex[65];
    hash_t hash = nn_tensor_file_digest(file);
    hash_hex(hex, &hash);
    json_t *root = json_pack(
        "{s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:f, s:s, s:I, s:I, s:I, s:b, s:I, s:I}", "file",
        nn_json_text(args->positional[0]), "model", nn_json_text(args->positional[1]), "format",
        nn_tensor_file_format(file), "sha256", hex, "wrapper", nn_tensor_file_wrapper(file),
        "prefix", nn_tensor_file_prefix(file), "architecture", arch->name, "width", arch->width,
        "strides", arch->strides, "input", (json_int_t)arch->input, "classes",
        (json_int_t)arch->classes, "parameters", (json_int_t)import->net->trainable_count,
        "head_replaced", import->report.head_drawn, "file_classes",
        (json_int_t)import->report.file_classes, "counters_missing",
        (json_int_t)import->report.counters_missing);
    node_json_print(root, JSON_REAL_PRECISION(9));
}

int cmd_import(const node_args_t *args)
{
    err_t err = ERR_OK;
    import_t import = {.seed = args->seed ? args->seed : SEED, .dropout = -1};
    if (file_same(args->positional[0], args->positional[1]))
        FAIL(ERR_USAGE, "%s and %s are one file: give the model a name of its own",
             args->positional[0], args->positional[1]);
    TRY(nn_tensor_file_open(&import.file, args->positional[0]));
    TRY(take_options(&import, args));
    TRY(nn_import_arch(&import.meta.arch, import.file));
    if (import.dropout >= 0)
        import.meta.arch.dropout = import.dropout;
    TRY(nn_net_new(&import.net, &import.meta.arch));
    import.meta.arch = import.net->arch;
    TRY(nn_state_init(&import.state, import.net));
    TRY(nn_import_state(&import.state, &import.report, import.file,
                        (const char *const *)import.meta.class_names, import.seed));
    TRY(nn_model_save(args->positional[1], &import.state, &import.meta));
    if (args->json)
        print_json(&import, args);
    else
        print_text(&import, args);
out:
    nn_state_free(&import.state);
    nn_model_meta_free(&import.meta);
    nn_net_destroy(&import.net);
    nn_tensor_file_close(&import.file);
    return node_exit(err);
}
