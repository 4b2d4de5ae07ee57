/* hearsay evaluate MODEL --data SPEC: how good a model is. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/json_text.h"
#include "node/commands.h"
#include "node/interrupt.h"
#include "node/json_print.h"
#include "node/whole.h"
#include "quant/quant.h"

enum { BATCH = 64, MATRIX_CLASSES = 20 /* a wider matrix does not fit on a screen */ };

/* Pictures of class c: how many there are, were found, were claimed. */
typedef struct {
    uint64_t there, found, claimed;
} tally_t;

static tally_t tally(const nn_metrics_t *m, size_t c)
{
    tally_t t = {.found = m->confusion[c * m->classes + c]};
    for (size_t k = 0; k < m->classes; k++) {
        t.there += m->confusion[c * m->classes + k];
        t.claimed += m->confusion[k * m->classes + c];
    }
    return t;
}

static void class_name(char out[48], const nn_model_meta_t *meta, size_t c)
{
    if (meta->class_names)
        snprintf(out, 48, "%s", meta->class_names[c]);
    else
        snprintf(out, 48, "%zu", c);
}

/* "  97.2 %", or a dash where there is nothing to divide by. */
static void put_share(uint64_t part, uint64_t whole)
{
    if (whole)
        printf("  %7.1f %%", 100.0 * (double)part / (double)whole);
    else
        printf("  %9s", "-");
}

static void print_matrix(const nn_metrics_t *m, const nn_model_meta_t *meta)
{
    char name[48];
    printf("\nrows: what it is, columns: what the model says\n%-24s", "");
    for (size_t c = 0; c < m->classes; c++) {
        class_name(name, meta, c);
        printf(" %5.5s", name);
    }
    for (size_t c = 0; c < m->classes; c++) {
        class_name(name, meta, c);
        printf("\n%-24.24s", name);
        for (size_t k = 0; k < m->classes; k++)
            printf(" %5llu", (unsigned long long)m->confusion[c * m->classes + k]);
    }
    printf("\n");
}

static void print_text(const node_args_t *args, const nn_metrics_t *m, const nn_model_meta_t *meta)
{
    char name[48];
    printf("%s (%s) on %s: %zu pictures\naccuracy %.2f %%, loss %.4f\n\n%-24s %8s  %9s  %9s\n",
           args->positional[0], meta->precision, args->data, m->samples, 100.0 * m->accuracy,
           m->loss, "class", "pictures", "recall", "precision");
    for (size_t c = 0; c < m->classes; c++) {
        tally_t t = tally(m, c);
        class_name(name, meta, c);
        printf("%-24.24s %8llu", name, (unsigned long long)t.there);
        put_share(t.found, t.there);
        put_share(t.found, t.claimed);
        printf("\n");
    }
    if (m->classes <= MATRIX_CLASSES)
        print_matrix(m, meta);
}

static json_t *share(uint64_t part, uint64_t whole)
{
    return whole ? json_real((double)part / (double)whole) : json_null();
}

static void print_json(const node_args_t *args, const nn_metrics_t *m, const nn_model_meta_t *meta)
{
    char name[48];
    json_t *confusion = json_array(), *classes = json_array();
    for (size_t c = 0; c < m->classes; c++) {
        tally_t t = tally(m, c);
        json_t *row = json_array();
        for (size_t k = 0; k < m->classes; k++)
            json_array_append_new(row, json_integer((json_int_t)m->confusion[c * m->classes + k]));
        json_array_append_new(confusion, row);
        class_name(name, meta, c);
        json_array_append_new(classes, json_pack("{s:o, s:I, s:o, s:o}", "name", nn_json_text(name),
                                                 "samples", (json_int_t)t.there, "recall",
                                                 share(t.found, t.there), "precision",
                                                 share(t.found, t.claimed)));
    }
    json_t *root = json_pack("{s:o, s:o, s:s, s:f, s:o, s:I, s:o, s:o}", "model",
                             nn_json_text(args->positional[0]), "data", nn_json_text(args->data),
                             "precision", meta->precision, "accuracy", m->accuracy, "loss",
                             isfinite(m->loss) ? json_real(m->loss) : json_null(), "samples",
                             (json_int_t)m->samples, "classes", classes, "confusion", confusion);
    node_json_print(root, JSON_REAL_PRECISION(9));
}

int cmd_evaluate(const node_args_t *args)
{
    err_t err = ERR_OK;
    quant_runner_t *runner = NULL;
    data_set_t set = {0};
    nn_metrics_t metrics = {0};
    const char *model = args->positional[0];
    node_interrupt_setup();
    TRY(quant_open(&runner, model, BATCH, node_threads(args->threads)));
    const nn_model_meta_t *meta = quant_meta(runner);
    TRY(node_load_whole(&set, args->data, meta, model));
    TRY(quant_evaluate(&metrics, runner, &set, &node_interrupted));
    if (args->json)
        print_json(args, &metrics, meta);
    else
        print_text(args, &metrics, meta);
out:
    nn_metrics_free(&metrics);
    data_set_free(&set);
    quant_close(&runner);
    return node_exit(err);
}
