#include "node/run.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/log.h"
#include "gossip/codec.h"
#include "node/calibration.h"
#include "node/interrupt.h"
#include "node/whole.h"

enum { SUMMARY_LIMIT = 1 << 20, MODEL_LIMIT = 1 << 30, TIMING_S = 1 };

char *node_run_name(const node_config_t *config, const char *wanted)
{
    if (wanted)
        return xstrdup(wanted);
    char stamp[20];
    clock_stamp(stamp);
    char *name = xasprintf("runs/%s/%s", config->federation, stamp);
    for (int k = 2; file_exists(name); k++) {
        free(name);
        name = xasprintf("runs/%s/%s-%d", config->federation, stamp, k);
    }
    return name;
}

char *node_run_path(const char *run, const char *peer, const char *file)
{
    return peer ? xasprintf("%s/%s/%s", run, peer, file) : xasprintf("%s/%s", run, file);
}

err_t node_run_lock(int *lock, const char *run, const char *peer)
{
    err_t err = ERR_OK;
    char *folder = xasprintf("%s/%s", run, peer);
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        FAIL(ERR_REFUSED, "%s: another process is this peer of this run: stop it first", folder);
out:
    if (err) {
        close(*lock);
        *lock = -1;
    }
    free(folder);
    return err;
}

err_t node_run_refuse_old(const char *run)
{
    err_t err = ERR_OK;
    char *path = node_run_path(run, NULL, "config.yaml");
    if (file_exists(path))
        FAIL(ERR_REFUSED,
             "%s holds a run already: go on with it (hearsay up --resume %s), or name another "
             "folder",
             run, run);
out:
    free(path);
    return err;
}

err_t node_run_create(const char *run, const node_config_t *config)
{
    err_t err = ERR_OK;
    char *text = NULL, *path = NULL;
    TRY(file_make_folder(run));
    for (size_t i = 0; i < config->peer_count; i++) {
        free(path);
        path = node_run_path(run, NULL, config->peers[i].name);
        TRY(file_make_folder(path));
    }
    free(path);
    path = node_run_path(run, NULL, "config.yaml");
    text = node_config_text(config);
    TRY(file_write(path, text, strlen(text)));
out:
    free(text);
    free(path);
    return err;
}

void node_run_print_attackers(FILE *out, const node_config_t *config)
{
    for (size_t i = 0; i < config->peer_count; i++) {
        char attack[NODE_ATTACK_TEXT];
        node_attack_text(attack, &config->peers[i].attack);
        if (config->peers[i].attack.kind != NODE_ATTACK_NONE)
            fprintf(out, "%s is hostile on purpose: %s\n", config->peers[i].name, attack);
    }
}

/* A number, or null for what was not measured. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static err_t write_json(const char *path, const json_t *value)
{
    err_t err = ERR_OK;
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    CHECK(text);
    char *line = xasprintf("%s\n", text);
    TRY(file_write(path, line, strlen(line)));
out:
    free(text);
    free(line);
    return err;
}

err_t node_summary_write(const char *run, const char *peer, const node_summary_t *s)
{
    err_t err = ERR_OK;
    char *path = node_run_path(run, peer, "summary.json");
    json_t *root = json_pack(
        "{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:s, s:b, s:o, s:s}", "name", peer,
        "stopped_by", s->stopped_by, "samples", (json_int_t)s->samples, "rounds",
        (json_int_t)s->rounds, "wall_s", number(s->wall_s), "test_accuracy",
        number(s->test_accuracy), "test_loss", number(s->test_loss), "local_test_accuracy",
        number(s->local_test_accuracy), "local_test_loss", number(s->local_test_loss), "bytes_sent",
        (json_int_t)s->bytes_sent, "bytes_received", (json_int_t)s->bytes_received,
        "consensus_sha256", s->digest, "certified", isfinite(s->distance), "distance",
        number(s->distance), "attack", s->attack);
    CHECK(root);
    TRY(write_json(path, root));
out:
    json_decref(root);
    free(path);
    return err;
}

static json_t *read_summary(const char *run, const char *peer)
{
    char *path = node_run_path(run, peer, "summary.json");
    unsigned char *data = NULL;
    size_t size = 0;
    json_t *root = NULL;
    if (file_exists(path) && !file_read(&data, &size, path, SUMMARY_LIMIT))
        root = json_loadb((char *)data, size, 0, NULL);
    if (root && !json_is_object(root)) {
        json_decref(root);
        root = NULL;
    }
    free(data);
    free(path);
    return root;
}

static const char *string_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* Copies the consensus file of `peer` to the run's own place, whole or not at all. */
static err_t copy_consensus(const char *run, const char *peer)
{
    err_t err = ERR_OK;
    unsigned char *data = NULL;
    size_t size = 0;
    char *from = node_run_path(run, peer, "consensus.safetensors");
    char *to = node_run_path(run, NULL, "consensus.safetensors");
    TRY(file_read(&data, &size, from, MODEL_LIMIT));
    TRY(file_write(to, data, size));
out:
    free(data);
    free(from);
    free(to);
    return err;
}

/* What the peers' summaries say together. */
typedef struct {
    json_t *peers;      /* array for the summary */
    const char *holder; /* first peer with a consensus, NULL */
    char sha256[HASH_HEX];
    json_t *accuracy, *loss, *distance; /* borrowed from the first summary that has them */
    char stopped_by[16];
    size_t finished;
} gathered_t;

static err_t gather_peer(gathered_t *g, const node_peer_t *peer, json_t *summary)
{
    err_t err = ERR_OK;
    static const char *const keys[] = {"samples",   "rounds",     "test_accuracy",
                                       "test_loss", "bytes_sent", "bytes_received"};
    char attack[NODE_ATTACK_TEXT];
    node_attack_text(attack, &peer->attack);
    json_t *line = json_pack("{s:s, s:s}", "name", peer->name, "attack", attack);
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        json_t *value = summary ? json_object_get(summary, keys[k]) : NULL;
        json_object_set_new(line, keys[k], value ? json_incref(value) : json_null());
    }
    json_object_set_new(line, "finished", json_boolean(summary != NULL));
    json_array_append_new(g->peers, line);
    json_object_set_new(line, "holds", json_boolean(*string_of(summary, "consensus_sha256")));
    if (!summary)
        return ERR_OK;
    g->finished++;
    const char *stopped_by = string_of(summary, "stopped_by");
    if (!*g->stopped_by || !strcmp(g->stopped_by, "neighbour") ||
        !strcmp(stopped_by, "interrupted"))
        snprintf(g->stopped_by, sizeof g->stopped_by, "%s", stopped_by);
    const char *sha256 = string_of(summary, "consensus_sha256");
    if (!*sha256)
        return ERR_OK;
    if (!g->holder) {
        g->holder = peer->name;
        snprintf(g->sha256, sizeof g->sha256, "%s", sha256);
    } else if (strcmp(sha256, g->sha256)) {
        FAIL(ERR_FORMAT,
             "peers %s and %s ended with different consensus models (%.8s and %.8s): they lost "
             "sight of each other; see their node.log",
             g->holder, peer->name, g->sha256, sha256);
    }
    if (!g->accuracy && json_is_real(json_object_get(summary, "test_accuracy"))) {
        g->accuracy = json_object_get(summary, "test_accuracy");
        g->loss = json_object_get(summary, "test_loss");
    }
    if (!g->distance && json_is_real(json_object_get(summary, "distance")))
        g->distance = json_object_get(summary, "distance");
out:
    return err;
}

static json_t *or_null(json_t *value)
{
    return value ? json_incref(value) : json_null();
}

/* One peer measured the consensus on the common test set: that is the figure of all who hold it. */
static void share_measure(const gathered_t *g)
{
    size_t n;
    json_t *line;
    json_array_foreach(g->peers, n, line)
    {
        if (!g->accuracy || !json_is_true(json_object_get(line, "holds")))
            continue;
        json_object_set(line, "test_accuracy", g->accuracy);
        json_object_set(line, "test_loss", g->loss);
    }
    json_array_foreach(g->peers, n, line) json_object_del(line, "holds");
}

err_t node_run_gather(json_t **summary, const char *run, const node_config_t *config, double wall_s)
{
    err_t err = ERR_OK, differ = ERR_OK;
    gathered_t g = {.peers = json_array()};
    json_t *root = NULL, *consensus = NULL;
    char *path = node_run_path(run, NULL, "summary.json");
    json_t **summaries = xcalloc(config->peer_count, sizeof(json_t *));
    for (size_t i = 0; i < config->peer_count; i++) {
        summaries[i] = read_summary(run, config->peers[i].name);
        err = gather_peer(&g, &config->peers[i], summaries[i]);
        if (err)
            differ = err;
    }
    if (!g.finished)
        FAIL(ERR_REFUSED, "no peer has finished: nothing to gather in %s", run);
    share_measure(&g);
    if (g.holder && !differ) {
        TRY(copy_consensus(run, g.holder));
        consensus =
            json_pack("{s:s, s:s, s:o, s:o, s:b, s:o}", "file", "consensus.safetensors", "sha256",
                      g.sha256, "test_accuracy", or_null(g.accuracy), "test_loss", or_null(g.loss),
                      "certified", g.distance != NULL, "distance", or_null(g.distance));
    }
    root = json_pack("{s:s, s:I, s:I, s:s, s:s, s:o, s:O, s:o}", "federation", config->federation,
                     "seed", (json_int_t)config->seed, "rounds", (json_int_t)config->rounds,
                     "codec", gossip_codec_name(config->gossip.codec), "stopped_by", g.stopped_by,
                     "wall_s", number(wall_s), "peers", g.peers, "consensus",
                     consensus ? json_incref(consensus) : json_null());
    CHECK(root);
    TRY(write_json(path, root));
    err = differ;
    if (summary)
        *summary = json_incref(root);
out:
    for (size_t i = 0; i < config->peer_count; i++)
        json_decref(summaries[i]);
    free(summaries);
    json_decref(g.peers);
    json_decref(consensus);
    json_decref(root);
    free(path);
    return err;
}

/* Bytes that all peers of the run sent, from its summary; < 0 when it has none, or when they are
 * not those of float32 models. */
static double bytes_sent(const char *run, const node_config_t *config)
{
    double sum = -1.0;
    for (size_t i = 0; i < config->peer_count && config->gossip.codec == GOSSIP_CODEC_FP32; i++) {
        json_t *summary = read_summary(run, config->peers[i].name);
        const json_t *sent = json_object_get(summary, "bytes_sent");
        if (json_is_integer(sent))
            sum = (sum < 0 ? 0 : sum) + (double)json_integer_value(sent);
        json_decref(summary);
    }
    return sum;
}

static bool wants_int8(const node_config_t *config)
{
    for (size_t i = 0; i < config->quantize.precision_count; i++)
        if (config->quantize.precisions[i] == QUANT_INT8)
            return true;
    return false;
}

/* Where int8 comes from, if it is wanted: the model that all peers made together (*by_peers), else
 * the pictures to calibrate it on. `name` says which; the caller frees both. */
static err_t find_int8(bool *by_peers, data_set_t *calibration, char **name, const char *run,
                       const node_setup_t *setup, FILE *out)
{
    err_t err = ERR_OK;
    const node_config_t *config = setup->config;
    char *made = node_run_path(run, "quantized", NODE_INT8_FILE);
    bool together = node_calibration_wanted(config);
    *by_peers = together && file_exists(made);
    if (*by_peers)
        *name = xasprintf("by all peers together, each on at most %zu of its training pictures",
                          config->quantize.samples);
    else if (wants_int8(config))
        TRY(node_setup_load_calibration(calibration, name, setup));
    if (together && !*by_peers) {
        log_warn("not_calibrated_by_peers", "instead=\"%s\"", *name);
        fprintf(out,
                "int8: the peers' records made no model (not_calibrated in their node.log says "
                "why); calibrated here instead, on %s\n",
                *name);
    }
out:
    free(made);
    return err;
}

err_t node_run_quantize(const char *run, node_setup_t *setup, FILE *out)
{
    err_t err = ERR_OK;
    const node_config_t *config = setup->config;
    quant_comparison_t comparison = {0};
    data_set_t calibration = {0};
    char *calibration_name = NULL;
    bool by_peers;
    char *model = node_run_path(run, NULL, "consensus.safetensors");
    char *folder = node_run_path(run, NULL, "quantized");
    if (node_interrupted)
        FAIL(ERR_REFUSED, "interrupted ahead of quantizing; do it with: hearsay quantize %s",
             model);
    TRY(node_setup_load_test(setup));
    if (!setup->test.count) {
        log_warn("quantize_skipped", "reason=\"no common test set: set data.test or "
                                     "data.test_fraction, or run hearsay quantize\"");
        goto out;
    }
    TRY(find_int8(&by_peers, &calibration, &calibration_name, run, setup, out));
    quant_compare_options_t options = {
        .model_path = model,
        .out_folder = folder,
        .precisions = config->quantize.precisions,
        .precision_count = config->quantize.precision_count,
        .set = &setup->test,
        .data_name = "common test set",
        .calibration = calibration_name ? &calibration : NULL,
        .calibration_name = calibration_name,
        .convert = quant_convert_defaults(),
        .int8_is_made = by_peers,
        .seconds = TIMING_S,
        .threads = node_threads(0),
        .bytes_run = bytes_sent(run, config),
        .cost_per_mb = config->cost_per_mb,
        .interrupted = &node_interrupted,
    };
    options.convert.clipping = config->quantize.clipping;
    options.convert.bias_correction = config->quantize.bias_correction;
    TRY(quant_compare(&comparison, &options));
    quant_comparison_print(&comparison, out);
out:
    quant_comparison_free(&comparison);
    data_set_free(&calibration);
    free(calibration_name);
    free(model);
    free(folder);
    return err;
}
