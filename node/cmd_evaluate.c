/* hearsay evaluate MODEL --data SPEC: how good a model is, and how fast. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/text.h"
#include "nn/json_text.h"
#include "node/commands.h"
#include "node/interrupt.h"
#include "node/json_print.h"
#include "node/whole.h"
#include "quant/report.h"

enum {
    BATCH = 64,
    TIMING_S = 1,
    MATRIX_CLASSES = 20 /* a wider matrix does not fit on a screen */
};

/* What is known of the model at the end. */
typedef struct {
    const node_args_t *args;
    quant_runner_t *runner;
    const nn_model_meta_t *meta; /* the runner's */
    quant_precision_t precision;
    char **class_names; /* (classes), owned */
    int threads;
    size_t bytes; /* of the file */
    quant_measures_t measures;
    quant_timing_t timing;
} evaluation_t;

static void name_classes(evaluation_t *e)
{
    size_t classes = e->meta->arch.classes;
    e->class_names = xcalloc(classes, sizeof *e->class_names);
    for (size_t c = 0; c < classes; c++)
        e->class_names[c] =
            e->meta->class_names ? text_shown(e->meta->class_names[c]) : xasprintf("%zu", c);
}

static void evaluation_free(evaluation_t *e)
{
    for (size_t c = 0; e->class_names && c < e->meta->arch.classes; c++)
        free(e->class_names[c]);
    free(e->class_names);
    quant_measures_free(&e->measures);
    quant_close(&e->runner);
}

static void print_matrix(const evaluation_t *e)
{
    size_t classes = e->measures.classes;
    printf("\nrows: what it is, columns: what the model says\n%-24s", "");
    for (size_t c = 0; c < classes; c++)
        printf(" %5.5s", e->class_names[c]);
    for (size_t c = 0; c < classes; c++) {
        printf("\n%-24.24s", e->class_names[c]);
        for (size_t k = 0; k < classes; k++)
            printf(" %5llu", (unsigned long long)e->measures.confusion[c * classes + k]);
    }
    printf("\n");
}

static void print_timing(const evaluation_t *e)
{
    const quant_timing_t *t = &e->timing;
    char load[QUANT_CELL], p50[QUANT_CELL], p90[QUANT_CELL], p99[QUANT_CELL], one[24], batch[24],
        bytes[24];
    text_bytes(bytes, (double)e->bytes);
    printf("file %s, %s\n", bytes, quant_precision_computes(e->precision));
    if (!t->runs)
        return;
    quant_put_seconds(load, t->load_s);
    quant_put_seconds(p50, t->p50_s);
    quant_put_seconds(p90, t->p90_s);
    quant_put_seconds(p99, t->p99_s);
    text_bytes(one, (double)t->memory_1);
    text_bytes(batch, (double)t->memory_batch);
    printf("CPU level %s: loads in %s, takes %s at batch 1, %s at batch %d\n"
           "a picture by 1 thread in %s (p50), %s (p90), %s (p99)\n"
           "%.1f pictures/s at batch %d by %d thread%s\n",
           cpu_level_name(cpu_level()), load, one, batch, QUANT_TIMING_BATCH, p50, p90, p99,
           t->images_per_s, QUANT_TIMING_BATCH, t->threads, t->threads == 1 ? "" : "s");
}

static void print_text(const evaluation_t *e)
{
    const quant_measures_t *m = &e->measures;
    char top5[QUANT_CELL], f1[QUANT_CELL], auc[QUANT_CELL], cells[4][QUANT_CELL];
    quant_put_share(top5, m->top5);
    quant_put_number(f1, m->macro_f1);
    quant_put_number(auc, m->macro_auc);
    printf("%s (%s) on %s: %zu picture%s\naccuracy %.2f %%, loss %.4f\n", e->args->positional[0],
           e->meta->precision, e->args->data, m->samples, m->samples == 1 ? "" : "s",
           100.0 * m->accuracy, m->loss);
    printf("%s%s%smacro-F1 %s, macro ROC AUC %s, calibration error %.4f\n",
           m->classes > QUANT_TOP ? "top-5 " : "", m->classes > QUANT_TOP ? top5 : "",
           m->classes > QUANT_TOP ? ", " : "", f1, auc, m->ece);
    print_timing(e);
    printf("\n%-24s %8s  %9s  %9s  %7s  %7s\n", "class", "pictures", "recall", "precision", "F1",
           "ROC AUC");
    for (size_t c = 0; c < m->classes; c++) {
        const quant_class_t *of = &m->of[c];
        quant_put_share(cells[0], of->recall);
        quant_put_share(cells[1], of->precision);
        quant_put_number(cells[2], of->f1);
        quant_put_number(cells[3], of->auc);
        printf("%-24.24s %8llu  %9s  %9s  %7s  %7s\n", e->class_names[c],
               (unsigned long long)of->samples, cells[0], cells[1], cells[2], cells[3]);
    }
    if (m->classes <= MATRIX_CLASSES)
        print_matrix(e);
}

static void print_json(const evaluation_t *e)
{
    json_t *root = json_pack("{s:o, s:o, s:s, s:s, s:I, s:I, s:i, s:s, s:s, s:o}", "model",
                             nn_json_text(e->args->positional[0]), "data",
                             nn_json_text(e->args->data), "precision", e->meta->precision,
                             "computes", quant_precision_computes(e->precision), "samples",
                             (json_int_t)e->measures.samples, "bytes", (json_int_t)e->bytes,
                             "threads", e->threads, "cpu", cpu_model_name(), "cpu_level",
                             cpu_level_name(cpu_level()), "timing", quant_timing_json(&e->timing));
    json_t *measures = quant_measures_json(&e->measures, e->class_names, true);
    CHECK(root && measures);
    json_object_update(root, measures);
    json_decref(measures);
    node_json_print(root, JSON_REAL_PRECISION(9));
}

static err_t time_it(evaluation_t *e, const data_set_t *set)
{
    err_t err = ERR_OK;
    double seconds = TIMING_S;
    const char *path = e->args->positional[0], *text = e->args->seconds;
    if (text && (!text_to_double(&seconds, text) || seconds < 0))
        FAIL(ERR_USAGE, "--seconds: \"%s\" is not a number from 0 on", text);
    if (seconds > 0)
        TRY(quant_time(&e->timing, &path, 1, set, e->threads, seconds, &node_interrupted));
out:
    return err;
}

int cmd_evaluate(const node_args_t *args)
{
    err_t err = ERR_OK;
    data_set_t set = {0};
    const char *model = args->positional[0];
    evaluation_t e = {.args = args, .threads = node_threads(args->threads)};
    node_interrupt_setup();
    TRY(quant_open(&e.runner, model, BATCH, e.threads));
    e.meta = quant_meta(e.runner);
    TRY(quant_precision_parse(&e.precision, e.meta->precision));
    TRY(file_size(&e.bytes, model));
    name_classes(&e);
    TRY(node_load_whole(&set, args->data, e.meta, model));
    err = quant_evaluate(&e.measures, e.runner, &set, &node_interrupted);
    if (err)
        TRY(err_prefix(err, "%s", model));
    TRY(time_it(&e, &set));
    if (args->json)
        print_json(&e);
    else
        print_text(&e);
out:
    evaluation_free(&e);
    data_set_free(&set);
    return node_exit(err);
}
