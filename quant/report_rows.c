/* The lines of the comparison's table, for a terminal and for comparison.md. */
#include <math.h>
#include <stdio.h>

#include "base/text.h"
#include "quant/report.h"

void quant_put_seconds(char cell[QUANT_CELL], double seconds)
{
    static const struct {
        double least, factor;
        const char *unit;
    } units[] = {{1, 1, "s"}, {1e-3, 1e3, "ms"}, {0, 1e6, "us"}};
    size_t k = 0;
    while (seconds < units[k].least)
        k++;
    double value = seconds * units[k].factor;
    snprintf(cell, QUANT_CELL, "%.*f %s",
             value < 10    ? 2
             : value < 100 ? 1
                           : 0,
             value, units[k].unit);
}

void quant_put_share(char cell[QUANT_CELL], double share)
{
    if (isnan(share))
        snprintf(cell, QUANT_CELL, "-");
    else
        snprintf(cell, QUANT_CELL, "%.2f %%", 100.0 * share);
}

void quant_put_number(char cell[QUANT_CELL], double value)
{
    if (isnan(value))
        snprintf(cell, QUANT_CELL, "-");
    else
        snprintf(cell, QUANT_CELL, "%.4f", value);
}

void quant_put_p(char cell[QUANT_CELL], double p)
{
    if (p < 0.001)
        snprintf(cell, QUANT_CELL, "< 0.001");
    else
        snprintf(cell, QUANT_CELL, "%.3f", p);
}

void quant_put_db(char cell[QUANT_CELL], double db)
{
    if (isinf(db) && db > 0)
        snprintf(cell, QUANT_CELL, "equal");
    else
        snprintf(cell, QUANT_CELL, "%.1f dB", db);
}

static bool is_fp32(const quant_result_t *r)
{
    return r->precision == QUANT_FP32;
}

static void put_dash(char cell[QUANT_CELL])
{
    snprintf(cell, QUANT_CELL, "-");
}

#define ROW(name)                                                                                  \
    static void name(char cell[QUANT_CELL], const quant_comparison_t *c, const quant_result_t *r)

ROW(put_accuracy)
{
    (void)c;
    quant_put_share(cell, r->measures.accuracy);
}

ROW(put_drop)
{
    (void)c;
    if (is_fp32(r))
        put_dash(cell);
    else
        snprintf(cell, QUANT_CELL, "%+.2f", r->drop_points);
}

ROW(put_p)
{
    (void)c;
    if (is_fp32(r))
        put_dash(cell);
    else
        quant_put_p(cell, r->pair.p);
}

ROW(put_agreement)
{
    (void)c;
    if (is_fp32(r))
        put_dash(cell);
    else
        quant_put_share(cell, r->pair.agreement);
}

ROW(put_top5)
{
    (void)c;
    if (!isnan(r->measures.top5))
        quant_put_share(cell, r->measures.top5);
}

ROW(put_f1)
{
    (void)c;
    quant_put_number(cell, r->measures.macro_f1);
}

ROW(put_auc)
{
    (void)c;
    quant_put_number(cell, r->measures.macro_auc);
}

ROW(put_loss)
{
    (void)c;
    quant_put_number(cell, r->measures.loss);
}

ROW(put_ece)
{
    (void)c;
    quant_put_number(cell, r->measures.ece);
}

ROW(put_bytes)
{
    (void)c;
    text_bytes(cell, (double)r->bytes);
}

ROW(put_computed)
{
    (void)c;
    text_bytes(cell, (double)r->bytes_computed);
}

ROW(put_smaller)
{
    (void)c;
    snprintf(cell, QUANT_CELL, "%.2fx", r->compression);
}

ROW(put_load)
{
    (void)c;
    if (r->timing.runs)
        quant_put_seconds(cell, r->timing.load_s);
}

ROW(put_p50)
{
    (void)c;
    if (r->timing.runs)
        quant_put_seconds(cell, r->timing.p50_s);
}

ROW(put_p90)
{
    (void)c;
    if (r->timing.runs)
        quant_put_seconds(cell, r->timing.p90_s);
}

ROW(put_p99)
{
    (void)c;
    if (r->timing.runs)
        quant_put_seconds(cell, r->timing.p99_s);
}

ROW(put_quicker)
{
    if (r->timing.runs)
        snprintf(cell, QUANT_CELL, "%.2fx", c->results[0].timing.p50_s / r->timing.p50_s);
}

ROW(put_throughput)
{
    (void)c;
    if (r->timing.runs)
        snprintf(cell, QUANT_CELL, "%.*f/s", r->timing.images_per_s < 100 ? 1 : 0,
                 r->timing.images_per_s);
}

ROW(put_faster)
{
    if (r->timing.runs)
        snprintf(cell, QUANT_CELL, "%.2fx",
                 r->timing.images_per_s / c->results[0].timing.images_per_s);
}

ROW(put_memory_1)
{
    (void)c;
    if (r->timing.runs)
        text_bytes(cell, (double)r->timing.memory_1);
}

ROW(put_memory_batch)
{
    (void)c;
    if (r->timing.runs)
        text_bytes(cell, (double)r->timing.memory_batch);
}

ROW(put_sent)
{
    (void)c;
    if (r->bytes_run >= 0)
        text_bytes(cell, r->bytes_run);
}

ROW(put_cost)
{
    (void)c;
    if (r->bytes_run >= 0)
        snprintf(cell, QUANT_CELL, "$%.2f", r->cost_run);
}

const quant_row_t quant_rows[] = {
    {"accuracy", false, put_accuracy},
    {"  drop, points", false, put_drop},
    {"  McNemar's p", false, put_p},
    {"agrees with fp32", false, put_agreement},
    {"top-5", false, put_top5},
    {"macro-F1", false, put_f1},
    {"macro ROC AUC", false, put_auc},
    {"loss", false, put_loss},
    {"calibration error", false, put_ece},
    {"file", true, put_bytes},
    {"  its tensors", false, put_computed},
    {"  smaller", false, put_smaller},
    {"load", true, put_load},
    {"latency p50", false, put_p50},
    {"  p90", false, put_p90},
    {"  p99", false, put_p99},
    {"  faster", false, put_quicker},
    {"throughput, batch 32", false, put_throughput},
    {"  faster", false, put_faster},
    {"memory, batch 1", false, put_memory_1},
    {"memory, batch 32", false, put_memory_batch},
    {"sent by the run", true, put_sent},
    {"  cost", false, put_cost},
};
const size_t quant_row_count = sizeof quant_rows / sizeof quant_rows[0];
_Static_assert(QUANT_TIMING_BATCH == 32, "the labels say so");

bool quant_row_shown(const quant_row_t *row, const quant_comparison_t *c)
{
    for (size_t i = 0; i < c->count; i++) {
        char cell[QUANT_CELL] = "";
        row->put(cell, c, &c->results[i]);
        if (*cell)
            return true;
    }
    return false;
}
