/* comparison.md: all of the comparison, for people and for renderers of Markdown. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/text.h"
#include "quant/report.h"

enum { NAME_BYTES = 128 };

/* Text of unknown origin as that of a cell. */
static void put_text(FILE *out, const char *text)
{
    char shown[NAME_BYTES];
    text_printable(shown, sizeof shown, text, strlen(text));
    for (const char *at = shown; *at; at++) {
        if (strchr("|\\`*_<>[]#", *at))
            fputc('\\', out);
        fputc(*at, out);
    }
}

/* "| what | fp32 | fp16 |" and the line below it. */
static void put_head(FILE *out, const quant_comparison_t *c, const char *what)
{
    fprintf(out, "| %s |", what);
    for (size_t i = 0; i < c->count; i++)
        fprintf(out, " %s |", c->results[i].name);
    fprintf(out, "\n|---|");
    for (size_t i = 0; i < c->count; i++)
        fprintf(out, "---:|");
    fputc('\n', out);
}

static void put_table(FILE *out, const quant_comparison_t *c)
{
    put_head(out, c, "");
    for (size_t k = 0; k < quant_row_count; k++) {
        const quant_row_t *row = &quant_rows[k];
        if (!quant_row_shown(row, c))
            continue;
        bool under = !strncmp(row->label, "  ", 2); /* the line ahead */
        fprintf(out, "| %s%s |", under ? "&nbsp;&nbsp;" : "", row->label + (under ? 2 : 0));
        for (size_t i = 0; i < c->count; i++) {
            char cell[QUANT_CELL] = "";
            row->put(cell, c, &c->results[i]);
            fprintf(out, " %s |", *cell ? cell : "-");
        }
        fputc('\n', out);
    }
}

static void put_recall(char cell[QUANT_CELL], const quant_class_t *of)
{
    quant_put_share(cell, of->recall);
}

static void put_precision(char cell[QUANT_CELL], const quant_class_t *of)
{
    quant_put_share(cell, of->precision);
}

static void put_f1(char cell[QUANT_CELL], const quant_class_t *of)
{
    quant_put_number(cell, of->f1);
}

static void put_auc(char cell[QUANT_CELL], const quant_class_t *of)
{
    quant_put_number(cell, of->auc);
}

static void put_classes(FILE *out, const quant_comparison_t *c, const char *title,
                        void (*put)(char cell[QUANT_CELL], const quant_class_t *of))
{
    fprintf(out, "\n### %s of each class\n\n", title);
    put_head(out, c, "class (pictures)");
    for (size_t k = 0; k < c->classes; k++) {
        fprintf(out, "| ");
        put_text(out, c->class_names[k]);
        fprintf(out, " (%" PRIu64 ") |", c->results[0].measures.of[k].samples);
        for (size_t i = 0; i < c->count; i++) {
            char cell[QUANT_CELL];
            put(cell, &c->results[i].measures.of[k]);
            fprintf(out, " %s |", cell);
        }
        fputc('\n', out);
    }
}

static void put_confusion(FILE *out, const quant_comparison_t *c, const quant_result_t *r)
{
    fprintf(
        out,
        "\n### Confusion matrix of %s\n\nRows: what it is; columns: what the model says.\n\n|  |",
        r->name);
    for (size_t k = 0; k < c->classes; k++) {
        fputc(' ', out);
        put_text(out, c->class_names[k]);
        fprintf(out, " |");
    }
    fprintf(out, "\n|---|");
    for (size_t k = 0; k < c->classes; k++)
        fprintf(out, "---:|");
    for (size_t truth = 0; truth < c->classes; truth++) {
        fprintf(out, "\n| ");
        put_text(out, c->class_names[truth]);
        fprintf(out, " |");
        for (size_t k = 0; k < c->classes; k++)
            fprintf(out, " %" PRIu64 " |", r->measures.confusion[truth * c->classes + k]);
    }
    fputc('\n', out);
}

static void put_signals(FILE *out, const quant_result_t *r)
{
    const quant_signals_t *s = &r->signals;
    if (!s->count)
        return;
    fprintf(out,
            "\n### Signal to noise of each layer of %s\n\nAgainst the float model, each from the "
            "picture on, over %zu pictures.\n\n| layer | |\n|---|---:|\n",
            r->name, s->pictures);
    for (size_t i = 0; i < s->count; i++) {
        char cell[QUANT_CELL];
        quant_put_db(cell, s->layers[i].db);
        fprintf(out, "| %s%s | %s |\n", s->layers[i].layer, i == s->worst ? " (worst)" : "", cell);
    }
}

void quant_comparison_markdown(const quant_comparison_t *c, FILE *out)
{
    char *notes = NULL;
    size_t size = 0;
    fprintf(out, "# Precisions compared\n\n");
    put_text(out, c->model);
    fprintf(out, " on ");
    put_text(out, c->data);
    fprintf(out, ", %zu pictures, %d thread%s, %s (%s)\n\n", c->samples, c->threads,
            c->threads == 1 ? "" : "s", cpu_model_name(), cpu_level_name(cpu_level()));
    put_table(out, c);
    FILE *text = open_memstream(&notes, &size);
    CHECK(text);
    quant_put_notes(c, text);
    fclose(text);
    fprintf(out, "\n```\n%s```\n\n## Classes\n", notes);
    free(notes);
    put_classes(out, c, "Recall", put_recall);
    put_classes(out, c, "Precision", put_precision);
    put_classes(out, c, "F1", put_f1);
    put_classes(out, c, "ROC AUC", put_auc);
    fprintf(out, "\n## Confusion\n");
    for (size_t i = 0; i < c->count; i++)
        put_confusion(out, c, &c->results[i]);
    if (c->calibration)
        fprintf(out, "\n## Layers\n");
    for (size_t i = 0; i < c->count; i++)
        put_signals(out, &c->results[i]);
}
