#include "node/metrics.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "node/run.h"

enum { METRICS_LIMIT = 256 << 20 };

struct node_metrics_s {
    FILE *file; /* owned */
    char *path; /* owned */
};

node_metrics_row_t node_metrics_row(uint32_t round)
{
    return (node_metrics_row_t){.round = round,
                                .codec = "",
                                .time_s = NAN,
                                .train_loss = NAN,
                                .train_accuracy = NAN,
                                .local_test_accuracy = NAN,
                                .local_test_loss = NAN,
                                .test_accuracy = NAN,
                                .test_loss = NAN,
                                .consensus_distance = NAN,
                                .certified_distance = NAN,
                                .train_s = NAN,
                                .wait_s = NAN,
                                .mix_s = NAN};
}

/* Keeps the whole lines of rounds before `first_round`. */
static err_t keep_earlier(const char *path, uint32_t first_round)
{
    err_t err = ERR_OK;
    unsigned char *data = NULL;
    size_t size = 0, kept = 0;
    if (!file_exists(path))
        return ERR_OK;
    TRY(file_read(&data, &size, path, METRICS_LIMIT));
    for (size_t at = 0; at < size;) {
        const unsigned char *end = memchr(data + at, '\n', size - at);
        if (!end)
            break;
        size_t length = (size_t)(end - data) + 1 - at;
        json_t *line = json_loadb((char *)data + at, length, 0, NULL);
        const json_t *round = json_object_get(line, "round");
        if (json_is_integer(round) && json_integer_value(round) < first_round) {
            memmove(data + kept, data + at, length);
            kept += length;
        }
        json_decref(line);
        at += length;
    }
    TRY(file_write(path, data, kept));
out:
    free(data);
    return err;
}

err_t node_metrics_open(node_metrics_t **metrics, const char *run, const char *peer,
                        uint32_t first_round)
{
    err_t err = ERR_OK;
    node_metrics_t *m = xcalloc(1, sizeof *m);
    m->path = node_run_path(run, peer, "metrics.jsonl");
    TRY(keep_earlier(m->path, first_round));
    m->file = fopen(m->path, "ae");
    if (!m->file)
        FAIL(ERR_IO, "open %s: %s", m->path, strerror(errno));
    *metrics = m;
    m = NULL;
out:
    node_metrics_close(&m);
    return err;
}

void node_metrics_close(node_metrics_t **metrics)
{
    node_metrics_t *m = *metrics;
    if (!m)
        return;
    if (m->file)
        fclose(m->file);
    free(m->path);
    free(m);
    *metrics = NULL;
}

static void put(json_t *line, const char *key, double value)
{
    json_object_set_new(line, key, isfinite(value) ? json_real(value) : json_null());
}

err_t node_metrics_write(node_metrics_t *metrics, const node_metrics_row_t *row)
{
    err_t err = ERR_OK;
    json_t *line = json_object();
    json_object_set_new(line, "round", json_integer(row->round));
    put(line, "time_s", row->time_s);
    put(line, "train_loss", row->train_loss);
    put(line, "train_accuracy", row->train_accuracy);
    put(line, "local_test_accuracy", row->local_test_accuracy);
    put(line, "local_test_loss", row->local_test_loss);
    put(line, "test_accuracy", row->test_accuracy);
    put(line, "test_loss", row->test_loss);
    put(line, "consensus_distance", row->consensus_distance);
    json_object_set_new(line, "certified_round",
                        row->certified_round ? json_integer(row->certified_round) : json_null());
    put(line, "certified_distance", row->certified_distance);
    json_object_set_new(line, "heard", json_integer(row->heard));
    json_object_set_new(line, "missing", json_integer(row->missing));
    json_object_set_new(line, "cut", json_integer(row->cut));
    json_object_set_new(line, "codec", json_string(row->codec));
    json_object_set_new(line, "bytes_sent", json_integer((json_int_t)row->bytes_sent));
    json_object_set_new(line, "bytes_received", json_integer((json_int_t)row->bytes_received));
    put(line, "train_s", row->train_s);
    put(line, "wait_s", row->wait_s);
    put(line, "mix_s", row->mix_s);
    put(line, "rss_mb", (double)memory_resident() / 1e6);
    if (json_dumpf(line, metrics->file, JSON_REAL_PRECISION(7)) ||
        fputc('\n', metrics->file) == EOF || fflush(metrics->file))
        FAIL(ERR_IO, "write %s: %s", metrics->path, strerror(errno));
out:
    json_decref(line);
    return err;
}
