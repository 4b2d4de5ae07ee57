/* hearsay bench gossip: what an exchange does to models, by one thread, each step beside the memory
 * bandwidth: bytes are those that the step cannot do without reading and writing once. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/text.h"
#include "gossip/algorithm.h"
#include "gossip/codec.h"
#include "gossip/sketch.h"
#include "node/bench_report.h"
#include "node/commands.h"
#include "node/json_print.h"
#include "node/table.h"

enum { MODELS = 5, MODELS_MAX = 64, RUNS_MIN = 5, RUNS_MAX = 10000 };
static const double KEEP = 0.1; /* of the sparse codecs */

typedef struct {
    gossip_table_t table;
    gossip_codec_t codec;
    const gossip_algorithm_t *algorithm;
    size_t models;
    float **values; /* (models)(table.floats): the first is one's own */
    gossip_part_t *parts;
    uint8_t *object; /* (size) one's own, encoded */
    size_t size;
    float *mixed; /* (table.floats) */
    double sink;  /* what results end in, so that none is left out */
    bool failed;
} exchange_t;

static void encode(exchange_t *x)
{
    x->failed |= !gossip_codec_encode(x->object, x->values[0], &x->table, &x->codec, 0, 1);
}

static void digest(exchange_t *x)
{
    hash_t hash = hash_bytes(x->object, x->size);
    x->sink += hash.bytes[0];
}

static void decode(exchange_t *x)
{
    double residual;
    x->failed |=
        !gossip_codec_decode(x->mixed, &residual, x->object, x->size, &x->table, &x->codec, 0, 1);
    x->sink += residual;
}

static void distance(exchange_t *x)
{
    x->sink += gossip_distance(x->values[0], x->values[1], &x->table);
}

static void mix(exchange_t *x)
{
    gossip_mixing_t mixing = {.parts = x->parts, .count = x->models, .self = 0, .table = &x->table};
    x->sink += (double)x->algorithm->mix(x->mixed, &mixing);
}

static void sketch(exchange_t *x)
{
    gossip_sketch_t s;
    gossip_sketch(&s, x->values[0], &x->table, 1, 1);
    x->sink += (double)s.norm;
}

enum { STEPS = 6 };
typedef struct {
    const char *name;
    void (*run)(exchange_t *x);
    double bytes;
    size_t runs;
    double median_s, min_s;
} step_t;

/* -- Making -- */

static err_t take_codec(gossip_codec_t *codec, const node_args_t *args)
{
    err_t err = ERR_OK;
    const char *name = args->codec ? args->codec : gossip_codec_name(GOSSIP_CODEC_FP32);
    *codec = (gossip_codec_t){.keep = KEEP, .seed = 1};
    for (int kind = GOSSIP_CODEC_FP32; kind <= GOSSIP_CODEC_RANDOMK; kind++)
        if (!strcmp(name, gossip_codec_name((gossip_codec_kind_t)kind))) {
            codec->kind = (gossip_codec_kind_t)kind;
            return ERR_OK;
        }
    FAIL(ERR_USAGE, "--codec: \"%s\": fp32, fp16, bf16, int8, topk and randomk are possible", name);
out:
    return err;
}

/* Values of a trained model's kind: small and of both signs, variances near 1. */
static void draw(float *values, const gossip_table_t *table, rng_t *rng)
{
    for (size_t s = 0; s < table->count; s++) {
        const gossip_segment_t *segment = &table->segments[s];
        for (size_t i = 0; i < segment->count; i++) {
            float value = (float)(rng_double(rng) - 0.5);
            values[segment->offset + i] =
                segment->kind == GOSSIP_VARIANCE ? 1.0f + value : 0.1f * value;
        }
    }
}

static err_t make(exchange_t *x, const node_args_t *args)
{
    err_t err = ERR_OK;
    nn_arch_t arch;
    nn_net_t *net = NULL;
    x->models = args->models ? args->models : MODELS;
    x->algorithm = gossip_algorithm(GOSSIP_ROBUST_NONE);
    if (x->models < 2 || x->models > MODELS_MAX)
        FAIL(ERR_USAGE, "--models: 2 to %d are possible", MODELS_MAX);
    TRY(take_codec(&x->codec, args));
    TRY(node_bench_arch(&arch, args));
    TRY(nn_net_new(&net, &arch));
    node_gossip_table(&x->table, net);
    x->size = gossip_codec_bytes(&x->codec, &x->table);
    x->values = xcalloc(x->models, sizeof *x->values);
    x->parts = xcalloc(x->models, sizeof *x->parts);
    x->object = xcalloc(x->size, 1);
    x->mixed = xcalloc(x->table.floats, sizeof(float));
    for (size_t m = 0; m < x->models; m++) {
        rng_t rng;
        rng_init(&rng, args->seed ? args->seed : 1, RNG_STREAM_INIT, m, 0);
        x->values[m] = xcalloc(x->table.floats, sizeof(float));
        draw(x->values[m], &x->table, &rng);
        x->parts[m] = (gossip_part_t){.values = x->values[m], .weight = 1.0 / (double)x->models};
    }
out:
    nn_net_destroy(&net);
    return err;
}

static void free_exchange(exchange_t *x)
{
    for (size_t m = 0; x->values && m < x->models; m++)
        free(x->values[m]);
    free(x->values);
    free(x->parts);
    free(x->object);
    free(x->mixed);
    free(x->table.segments);
}

/* -- Timing -- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_step(step_t *step, exchange_t *x, double seconds)
{
    double *took = xcalloc(RUNS_MAX, sizeof *took);
    double until_s;
    step->run(x);
    until_s = clock_monotonic_s() + seconds;
    for (step->runs = 0; step->runs < RUNS_MAX; step->runs++) {
        double started_s = clock_monotonic_s();
        if (step->runs >= RUNS_MIN && started_s > until_s)
            break;
        step->run(x);
        took[step->runs] = clock_monotonic_s() - started_s;
    }
    qsort(took, step->runs, sizeof *took, by_value);
    step->median_s = took[step->runs / 2];
    step->min_s = took[0];
    free(took);
}

/* -- Telling -- */

static void print(const exchange_t *x, const step_t *steps, double memory_gb_s)
{
    char object[24], model[24];
    text_bytes(object, (double)x->size);
    text_bytes(model, (double)x->table.floats * sizeof(float));
    printf("a model of %s, %s on the wire as %s; %zu of them mixed\n", model, object,
           gossip_codec_name(x->codec.kind), x->models);
    printf("%s, %s, 1 thread; memory %.1f GB/s\n\n", cpu_model_name(), cpu_level_name(cpu_level()),
           memory_gb_s);
    printf("%-9s %9s %9s %8s %8s\n", "step", "median", "least", "GB/s", "memory's");
    for (size_t i = 0; i < STEPS; i++) {
        double rate = steps[i].bytes / steps[i].median_s * 1e-9;
        printf("%-9s %6.3f ms %6.3f ms %8.2f %6.0f %%\n", steps[i].name, steps[i].median_s * 1e3,
               steps[i].min_s * 1e3, rate, 100 * rate / memory_gb_s);
    }
}

static void print_json(const exchange_t *x, const step_t *steps, double memory_gb_s)
{
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:f}", "bench", "gossip", "codec",
                  gossip_codec_name(x->codec.kind), "cpu", cpu_model_name(), "cpu_level",
                  cpu_level_name(cpu_level()), "model_bytes",
                  (json_int_t)(x->table.floats * sizeof(float)), "object_bytes",
                  (json_int_t)x->size, "models", (json_int_t)x->models, "memory_gb_s", memory_gb_s);
    json_t *list = json_array();
    CHECK(root && list);
    for (size_t i = 0; i < STEPS; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:f, s:I, s:f, s:f, s:f}", "step", steps[i].name, "bytes",
                            steps[i].bytes, "runs", (json_int_t)steps[i].runs, "median_s",
                            steps[i].median_s, "min_s", steps[i].min_s, "share_of_memory",
                            steps[i].bytes / steps[i].median_s * 1e-9 / memory_gb_s));
    json_object_set_new(root, "steps", list);
    node_json_print(root, JSON_REAL_PRECISION(9));
}

int cmd_bench_gossip(const node_args_t *args)
{
    err_t err = ERR_OK;
    exchange_t x = {0};
    nn_ceilings_t ceilings;
    double seconds = NODE_BENCH_SECONDS;
    TRY(node_bench_number(&seconds, "seconds", args->seconds));
    TRY(make(&x, args));
    const double model = (double)x.table.floats * sizeof(float), object = (double)x.size;
    step_t steps[STEPS] = {
        {.name = "encode", .run = encode, .bytes = model + object},
        {.name = "digest", .run = digest, .bytes = object},
        {.name = "decode", .run = decode, .bytes = object + model},
        {.name = "distance", .run = distance, .bytes = 2 * model},
        {.name = "mix", .run = mix, .bytes = (double)(x.models + 1) * model},
        {.name = "sketch", .run = sketch, .bytes = model},
    };
    for (size_t i = 0; i < STEPS; i++)
        time_step(&steps[i], &x, seconds / STEPS);
    if (x.failed)
        FAIL(ERR_FORMAT, "a model did not come back from the codec");
    TRY(nn_ceilings_measure(&ceilings, 1));
    if (args->json)
        print_json(&x, steps, ceilings.memory_gb_s);
    else
        print(&x, steps, ceilings.memory_gb_s);
out:
    free_exchange(&x);
    return node_exit(err);
}
