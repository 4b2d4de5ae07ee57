/* The comparison for machines and for people. */
#include "quant/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/text.h"
#include "nn/json_text.h"
#include "quant/precision.h"

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *known(double value)
{
    return value < 0 ? json_null() : number(value);
}

static json_t *result_json(const quant_result_t *r)
{
    json_t *communication = json_pack("{s:o, s:o, s:s}", "bytes_run", known(r->bytes_run),
                                      "cost_run", known(r->cost_run), "basis",
                                      r->precision == QUANT_FP32 ? "measured" : "projected");
    return json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:s, s:o}", "precision",
                     quant_precision_name(r->precision), "file", nn_json_text(r->file), "bytes",
                     (json_int_t)r->bytes, "accuracy", number(r->accuracy), "loss", number(r->loss),
                     "drop_points", number(r->drop_points), "compression", number(r->compression),
                     "computes", quant_precision_computes(r->precision), "communication",
                     communication);
}

err_t quant_comparison_write(const quant_comparison_t *c, const char *folder)
{
    err_t err = ERR_OK;
    char *json = NULL, *path = xasprintf("%s/comparison.json", folder);
    json_t *results = json_array();
    for (size_t i = 0; i < c->count; i++)
        json_array_append_new(results, result_json(&c->results[i]));
    json_t *root =
        json_pack("{s:o, s:o, s:I, s:i, s:s, s:s, s:o, s:o}", "model", nn_json_text(c->model),
                  "data", nn_json_text(c->data), "samples", (json_int_t)c->samples, "threads",
                  c->threads, "cpu", cpu_model_name(), "cpu_level", cpu_level_name(cpu_level()),
                  "cost_per_mb", number(c->cost_per_mb), "results", results);
    CHECK(root);
    json = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    CHECK(json);
    char *line = xasprintf("%s\n", json);
    err = file_write(path, line, strlen(line));
    free(line);
    free(json);
    free(path);
    return err;
}

static void print_row(const quant_result_t *r, FILE *out)
{
    char file[24], run[24] = "unknown", cost[32] = "unknown", drop[24] = "-";
    text_bytes(file, (double)r->bytes);
    if (r->bytes_run >= 0) {
        text_bytes(run, r->bytes_run);
        snprintf(cost, sizeof cost, "$%.2f", r->cost_run);
    }
    if (r->precision != QUANT_FP32)
        snprintf(drop, sizeof drop, "%+.2f", r->drop_points);
    fprintf(out, "%-9s  %-11s  %9s  %8.2fx  %7.2f %%  %6s  %7.4f  %9s  %10s\n",
            quant_precision_name(r->precision), quant_precision_arithmetic(r->precision), file,
            r->compression, 100.0 * r->accuracy, drop, r->loss, run, cost);
}

/* What the numbers mean and how far they can be trusted. */
static void print_notes(const quant_comparison_t *c, FILE *out)
{
    double p = c->results[0].accuracy;
    fputc('\n', out);
    for (size_t i = 0; i < c->count; i++)
        fprintf(out, "%s: %s\n", quant_precision_name(c->results[i].precision),
                quant_precision_computes(c->results[i].precision));
    fprintf(out,
            "drop: points of accuracy lost against fp32, below 0 gained; over %zu pictures an\n"
            "      accuracy's standard error is %.2f points\n",
            c->samples, 100.0 * sqrt(p * (1.0 - p) / (double)c->samples));
    if (c->results[0].bytes_run < 0)
        fprintf(out, "sent: unknown: the model does not lie in the folder of a run\n");
    else
        fprintf(out,
                "sent: fp32 as this run measured it, the others projected: the same run had it\n"
                "      told its models in that precision; $%.2f a MB\n",
                c->cost_per_mb);
}

void quant_comparison_print(const quant_comparison_t *c, FILE *out)
{
    fprintf(out, "%s on %s (%zu pictures), %d thread%s, %s\n\n", c->model, c->data, c->samples,
            c->threads, c->threads == 1 ? "" : "s", cpu_model_name());
    fprintf(out, "%-9s  %-11s  %9s  %9s  %9s  %6s  %7s  %9s  %10s\n", "precision", "computes in",
            "file", "smaller", "accuracy", "drop", "loss", "sent", "cost");
    for (size_t i = 0; i < c->count; i++)
        print_row(&c->results[i], out);
    print_notes(c, out);
}
