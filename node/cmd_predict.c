/* hearsay predict MODEL IMAGE...: what is on a picture. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "nn/infer.h"
#include "nn/json_text.h"
#include "node/commands.h"
#include "node/json_print.h"
#include "quant/quant.h"

enum { SHOWN = 3 }; /* classes a line */

typedef struct {
    quant_runner_t *runner;
    uint8_t *pixels; /* (input,input,3) */
    float *x;        /* the same, normalised */
    float *p;        /* (classes) probabilities */
    size_t *order;   /* (classes) the likeliest first */
} predictor_t;

static err_t open_model(predictor_t *predictor, const char *path)
{
    err_t err = ERR_OK;
    TRY(quant_open(&predictor->runner, path, 1, 1));
    const nn_arch_t *arch = &quant_meta(predictor->runner)->arch;
    size_t count = arch->input * arch->input * DATA_CHANNELS;
    predictor->pixels = xcalloc(count, 1);
    predictor->x = xcalloc(count, sizeof *predictor->x);
    predictor->p = xcalloc(arch->classes, sizeof *predictor->p);
    predictor->order = xcalloc(arch->classes, sizeof *predictor->order);
out:
    return err;
}

static void close_model(predictor_t *predictor)
{
    quant_close(&predictor->runner);
    free(predictor->pixels);
    free(predictor->x);
    free(predictor->p);
    free(predictor->order);
}

/* Fills p and order for one picture. */
static err_t predict(predictor_t *predictor, const char *path)
{
    err_t err = ERR_OK;
    const nn_model_meta_t *meta = quant_meta(predictor->runner);
    size_t side = meta->arch.input, classes = meta->arch.classes;
    int32_t label = 0;
    const uint32_t first = 0;
    data_set_t set = {.count = 1, .height = side, .width = side, .class_count = classes};
    TRY(data_load_image(predictor->pixels, path, side));
    set.pixels = predictor->pixels;
    set.labels = &label;
    data_batch(predictor->x, &label, &set, &first, 1, &meta->normalisation, NULL, NULL);
    quant_run(predictor->runner, predictor->p, predictor->x, 1);
    for (size_t c = 0; c < classes; c++)
        if (!isfinite(predictor->p[c]))
            FAIL(ERR_FORMAT,
                 "%s: the logit of class %zu is %g: the model's weights are too large to compute "
                 "with, or damaged",
                 path, c, (double)predictor->p[c]);
    nn_softmax(predictor->p, predictor->p, 1, classes);
    for (size_t c = 0; c < classes; c++) { /* insertion: equal ones stay in class order */
        size_t at = c;
        for (; at > 0 && predictor->p[predictor->order[at - 1]] < predictor->p[c]; at--)
            predictor->order[at] = predictor->order[at - 1];
        predictor->order[at] = c;
    }
out:
    return err;
}

enum { NAME_SIZE = 256 };

static const char *class_name(char out[NAME_SIZE], const nn_model_meta_t *meta, size_t c)
{
    if (meta->class_names) /* a file's, which may hold anything */
        text_printable(out, NAME_SIZE, meta->class_names[c], strlen(meta->class_names[c]));
    else
        snprintf(out, NAME_SIZE, "%zu", c);
    return out;
}

static void print_line(const predictor_t *predictor, const char *path)
{
    const nn_model_meta_t *meta = quant_meta(predictor->runner);
    char name[NAME_SIZE];
    printf("%s:", path);
    for (size_t k = 0; k < meta->arch.classes && k < SHOWN; k++) {
        size_t c = predictor->order[k];
        printf("%s %s %.1f %%", k ? "," : "", class_name(name, meta, c),
               100.0 * (double)predictor->p[c]);
    }
    printf("\n");
}

static json_t *as_json(const predictor_t *predictor, const char *path)
{
    const nn_model_meta_t *meta = quant_meta(predictor->runner);
    char name[NAME_SIZE];
    json_t *classes = json_array();
    for (size_t k = 0; k < meta->arch.classes; k++) {
        size_t c = predictor->order[k];
        json_array_append_new(classes, json_pack("{s:o, s:f}", "name",
                                                 nn_json_text(class_name(name, meta, c)),
                                                 "probability", (double)predictor->p[c]));
    }
    return json_pack("{s:o, s:o, s:o}", "file", nn_json_text(path), "class",
                     nn_json_text(class_name(name, meta, predictor->order[0])), "classes", classes);
}

int cmd_predict(const node_args_t *args)
{
    predictor_t predictor = {0};
    json_t *list = json_array();
    int status = node_exit(open_model(&predictor, args->positional[0]));
    for (size_t i = 1; predictor.runner && i < args->positional_count; i++) {
        const char *path = args->positional[i];
        err_t err = predict(&predictor, path);
        if (err) /* the others are told all the same */
            status = node_exit(err);
        else if (args->json)
            json_array_append_new(list, as_json(&predictor, path));
        else
            print_line(&predictor, path);
    }
    if (args->json && predictor.runner)
        node_json_print(json_incref(list), JSON_REAL_PRECISION(6));
    json_decref(list);
    close_model(&predictor);
    return status;
}
