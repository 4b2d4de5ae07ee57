#include "tests/gossip/federation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/support/harness.h"

static const int64_t LIMIT = 3000000; /* ms */

size_t federation_floats(const federation_t *f)
{
    return f->weights + 2 * f->channels;
}

/* Training: every value moves by a draw of (peer, round). Variances stay positive. */
static void train(federation_t *f, size_t peer, uint32_t round, float *values)
{
    rng_t rng;
    rng_init(&rng, 7, RNG_STREAM_TEST, peer, round);
    size_t floats = federation_floats(f);
    for (size_t i = 0; f->moves && i < floats; i++)
        values[i] += f->moves[((round - 1) * f->peers + peer) * floats + i];
    for (size_t i = 0; !f->moves && i < floats; i++) {
        double move = f->step * rng_normal(&rng);
        bool variance = i >= f->weights + f->channels;
        values[i] = variance ? (float)(values[i] * exp(move)) : (float)(values[i] + move);
    }
}

/* A statistics record of the fake node: its peer's number and sample count. */
static bool estimate(federation_t *f, size_t p, const gossip_action_t *action,
                     gossip_event_t *answer)
{
    static uint8_t record[16];
    free(f->estimate[p]);
    f->estimate[p] = xcalloc(federation_floats(f), sizeof(float));
    memcpy(f->estimate[p], action->values, federation_floats(f) * sizeof(float));
    uint64_t pair[2] = {p, f->config[p].samples};
    memcpy(record, pair, sizeof pair);
    *answer = (gossip_event_t){.kind = GOSSIP_EV_STATISTICS, .bytes = record, .size = 16};
    return true;
}

/* Merging: means become the samples' sum of all records, variances the number of records. */
static bool merge(federation_t *f, const gossip_action_t *action, gossip_event_t *answer)
{
    static float *values;
    free(values);
    values = xcalloc(federation_floats(f), sizeof *values);
    memcpy(values, action->values, federation_floats(f) * sizeof *values);
    float sum = 0;
    for (size_t r = 0; r < action->record_count; r++) {
        uint64_t pair[2];
        assert_int_equal(action->records[r].size, 16);
        memcpy(pair, action->records[r].bytes, 16);
        assert_int_equal(pair[0], action->records[r].peer);
        assert_true(r == 0 || action->records[r].peer > action->records[r - 1].peer);
        sum += (float)pair[1];
    }
    for (size_t c = 0; c < f->channels; c++) {
        values[f->weights + c] = sum;
        values[f->weights + f->channels + c] = (float)action->record_count;
    }
    f->merged = action->record_count;
    *answer = (gossip_event_t){.kind = GOSSIP_EV_MERGED, .values = values};
    return true;
}

static hash_t digest_of(const gossip_action_t *action)
{
    hash_stream_t *stream = hash_stream_new();
    for (size_t r = 0; r < action->record_count; r++) {
        uint64_t head[2] = {action->records[r].peer, action->records[r].size};
        hash_stream_add(stream, head, sizeof head);
        hash_stream_add(stream, action->records[r].bytes, action->records[r].size);
    }
    return hash_stream_end(&stream);
}

/* A stage's record of the fake node: its peer's number, then a digest of all that the stage before
 * has given, and padding. */
static bool make_record(federation_t *f, size_t p, const gossip_action_t *action,
                        gossip_event_t *answer)
{
    static uint8_t *record;
    hash_t digest = digest_of(action);
    uint32_t before = action->round - 1;
    if (before > 0) {
        f->staged[p][before - 1] = digest;
        f->staged_of[p][before - 1] = 0;
        for (size_t r = 0; r < action->record_count; r++) {
            uint64_t peer;
            assert_int_equal(action->records[r].size, f->record_bytes);
            memcpy(&peer, action->records[r].bytes, sizeof peer);
            assert_int_equal(peer, action->records[r].peer);
            assert_true(r == 0 || action->records[r].peer > action->records[r - 1].peer);
            f->staged_of[p][before - 1] |= 1u << peer;
        }
    }
    if (action->round > f->stages)
        return false;
    free(record);
    record = xcalloc(f->record_bytes, 1);
    uint64_t peer = p;
    memcpy(record, &peer, sizeof peer);
    memcpy(record + 8, digest.bytes, 8);
    memset(record + 16, f->padding[p], f->record_bytes - 16);
    *answer = (gossip_event_t){
        .kind = GOSSIP_EV_RECORD, .round = action->round, .bytes = record, .size = f->record_bytes};
    return true;
}

static void note(federation_t *f, size_t p, const gossip_action_t *action)
{
    f->notes[p][action->note]++;
    f->about[action->peer][action->note]++;
    if (action->note == GOSSIP_NOTE_REFUSED)
        snprintf(f->refused, sizeof f->refused, "%s", action->text);
    if (getenv("FEDERATION_TRACE"))
        printf("%8lld peer %zu notes about %zu at %u: kind %d %s\n",
               (long long)gossip_sim_now_ms(f->sim), p, action->peer, action->round, action->note,
               action->text);
}

bool federation_node(void *user, size_t p, const gossip_action_t *action, gossip_event_t *answer,
                     int64_t *busy_ms)
{
    federation_t *f = user;
    size_t size = federation_floats(f) * sizeof(float);
    static float *values;
    *busy_ms = 20;
    switch (action->kind) {
    case GOSSIP_ACT_TRAIN:
        free(values);
        values = xcalloc(size, 1);
        memcpy(values, action->values, size);
        assert_true(action->round < FEDERATION_HISTORY);
        f->rounds_trained[p] = action->round;
        free(f->history[p][action->round]);
        f->history[p][action->round] = xcalloc(size, 1);
        memcpy(f->history[p][action->round], values, size);
        if (f->step > 0)
            train(f, p, action->round, values);
        *busy_ms = f->train_ms[p];
        *answer =
            (gossip_event_t){.kind = GOSSIP_EV_MODEL, .round = action->round, .values = values};
        return true;
    case GOSSIP_ACT_TRAINED:
        memcpy(f->trained[p], action->values, size);
        return false;
    case GOSSIP_ACT_ESTIMATE:
        return estimate(f, p, action, answer);
    case GOSSIP_ACT_MERGE:
        return merge(f, action, answer);
    case GOSSIP_ACT_CONSENSUS:
        memcpy(f->consensus[p], action->values, size);
        f->digest[p] = action->digest;
        f->report[p] = action->report;
        f->done[p] = true;
        return false;
    case GOSSIP_ACT_STAGE:
        *busy_ms = f->record_ms[p];
        return make_record(f, p, action, answer);
    case GOSSIP_ACT_LOST:
        f->lost[p] = true;
        return false;
    case GOSSIP_ACT_FINISHED:
        f->finished[p] = true;
        return false;
    case GOSSIP_ACT_NOTE:
        note(f, p, action);
        return false;
    default:
        return false;
    }
}

static void defaults(federation_t *f)
{
    if (!f->peers)
        f->peers = 5;
    if (!f->weights)
        f->weights = 40;
    if (!f->rows)
        f->rows = 1;
    if (f->step == 0)
        f->step = 0.1;
    if (f->distance == 0)
        f->distance = 1e-4;
    if (!f->consensus_max)
        f->consensus_max = 200;
    if (!f->start_wait_ms)
        f->start_wait_ms = 30000;
    if (!f->record_bytes)
        f->record_bytes = 16;
    if (f->net.delay_ms == 0)
        f->net.delay_ms = 2;
    for (size_t p = 0; p < f->peers; p++) {
        f->record_ms[p] = f->record_ms[p] ? f->record_ms[p] : 20;
        f->samples[p] = f->samples[p] ? f->samples[p] : 100;
        f->train_ms[p] = f->train_ms[p] ? f->train_ms[p] : 200;
    }
}

static void make_config(federation_t *f, size_t p)
{
    f->config[p] =
        (gossip_config_t){.sections = {{"model", {1}}, {"seed", {2}}},
                          .section_count = 2,
                          .names = f->name_list,
                          .peers = f->peers,
                          .self = p,
                          .neighbours = f->graph.neighbours[p],
                          .neighbour_count = f->graph.degree[p],
                          .diameter = f->graph.diameter,
                          .degree_max = f->peers - 1,
                          .scheme = f->scheme,
                          .staleness = f->staleness,
                          .topology = f->rule,
                          .table = {f->segments, f->channels ? 3 : 1, federation_floats(f)},
                          .codec = f->codec,
                          .choco = f->choco,
                          .gamma = f->gamma,
                          .samples = f->samples[p],
                          .incarnation = 1,
                          .rounds = f->rounds,
                          .first_round = 1,
                          .deadline = f->deadline,
                          .deadline_floor_ms = 1000,
                          .deadline_ceiling_ms = 10000,
                          .deadline_k = 6,
                          .announce_ms = 1000,
                          .suspect_ms = 4000,
                          .dead_ms = 24000,
                          .start_wait_ms = f->start_wait_ms,
                          .consensus_distance = f->distance,
                          .consensus_rounds_max = f->consensus_max,
                          .stages = f->stages};
}

void federation_init(federation_t *f)
{
    defaults(f);
    f->rule = (gossip_topology_t){.kind = f->topology,
                                  .peers = f->peers,
                                  .degree = f->degree,
                                  .edge_probability = f->edge_probability,
                                  .redraw = f->redraw,
                                  .local = f->local,
                                  .seed = 5,
                                  .edges = f->edges,
                                  .edge_count = f->edge_count};
    gossip_topology_t links = f->rule;
    if (gossip_topology_drawn(&f->rule))
        links.kind = GOSSIP_FULL;
    assert_ok(gossip_graph_at(&f->graph, &links, 0));
    size_t w = f->weights, c = f->channels, size = federation_floats(f) * sizeof(float);
    f->segments[0] = (gossip_segment_t){"weights", GOSSIP_WEIGHTS, 0, w, f->rows, -1};
    f->segments[1] = (gossip_segment_t){"mean", GOSSIP_MEAN, w, c, 1, 0};
    f->segments[2] = (gossip_segment_t){"variance", GOSSIP_VARIANCE, w + c, c, 1, 0};
    f->start = xcalloc(size, 1);
    rng_t rng = test_rng(3);
    for (size_t i = 0; i < federation_floats(f); i++)
        f->start[i] = i < w + c ? (float)rng_normal(&rng) : 1.0f;
    for (size_t p = 0; p < f->peers; p++) {
        snprintf(f->names[p], sizeof f->names[p], "p%zu", p);
        f->name_list[p] = f->names[p];
        f->consensus[p] = xcalloc(size, 1);
        f->trained[p] = xcalloc(size, 1);
        f->history[p] = xcalloc(FEDERATION_HISTORY, sizeof *f->history[p]);
    }
    for (size_t p = 0; p < f->peers; p++)
        make_config(f, p);
    assert_ok(gossip_sim_new(&f->sim, &f->net, f->peers, federation_node, f));
}

void federation_start_peer(federation_t *f, size_t peer, int64_t at_ms, bool rejoin)
{
    gossip_config_t config = f->config[peer];
    config.incarnation = (uint64_t)at_ms + 1;
    config.rejoin = rejoin;
    assert_ok(gossip_sim_start(f->sim, &config, f->start, at_ms));
}

void federation_start(federation_t *f)
{
    for (size_t p = 0; p < f->peers; p++)
        federation_start_peer(f, p, 0, false);
}

void federation_free(federation_t *f)
{
    gossip_sim_destroy(&f->sim);
    for (size_t p = 0; p < f->peers; p++) {
        for (size_t r = 0; r < FEDERATION_HISTORY; r++)
            free(f->history[p][r]);
        free(f->history[p]);
        free(f->consensus[p]);
        free(f->trained[p]);
        free(f->estimate[p]);
    }
    free(f->start);
    gossip_graph_free(&f->graph);
}

void federation_assert_one(const federation_t *f, unsigned except)
{
    const hash_t *first = NULL;
    size_t one = 0;
    for (size_t p = 0; p < f->peers; p++) {
        if (p < 32 && (except >> p & 1))
            continue;
        if (!f->done[p] || !f->finished[p])
            fail_msg("peer %zu: consensus %d, finished %d", p, f->done[p], f->finished[p]);
        hash_t digest = hash_bytes(f->consensus[p], federation_floats(f) * sizeof(float));
        assert_memory_equal(&digest, &f->digest[p], sizeof digest);
        if (!first)
            one = p;
        first = first ? first : &f->digest[p];
        assert_memory_equal(first, &f->digest[p], sizeof *first);
        for (uint32_t k = 0; k < f->stages; k++) {
            assert_int_equal(f->staged_of[p][k], f->staged_of[one][k]);
            assert_memory_equal(&f->staged[p][k], &f->staged[one][k], sizeof f->staged[p][k]);
        }
    }
}

void federation_assert_loss_bears(const federation_t *settings, uint64_t asked)
{
    hash_t digest[2];
    for (int lossy = 0; lossy < 2; lossy++) {
        federation_t f = *settings;
        uint64_t repairs = 0;
        f.net.loss = lossy ? 0.2 : 0.0;
        federation_init(&f);
        federation_start(&f);
        gossip_sim_run(f.sim, LIMIT);
        federation_assert_one(&f, 0);
        for (size_t p = 0; p < f.peers; p++)
            repairs += gossip_counter(gossip_sim_peer(f.sim, p), GOSSIP_COUNT_REPAIRS_ASKED);
        assert_true(!lossy || repairs > asked);
        digest[lossy] = f.digest[0];
        federation_free(&f);
    }
    assert_memory_equal(&digest[0], &digest[1], sizeof digest[0]);
}

void federation_assert_faults_bear(const federation_t *settings, const federation_faults_t *faults,
                                   rng_t *rng)
{
    federation_t f = *settings;
    federation_init(&f);
    federation_start(&f);
    size_t victim = rng_below(rng, 6), sleeper = rng_below(rng, 6);
    int64_t crash = faults->from_ms + (int64_t)rng_below(rng, (uint64_t)faults->span_ms);
    int64_t pause = faults->from_ms + (int64_t)rng_below(rng, (uint64_t)faults->span_ms);
    bool back = rng_below(rng, 2);
    gossip_sim_crash(f.sim, victim, crash);
    if (back)
        federation_start_peer(
            &f, victim, crash + 500 + (int64_t)rng_below(rng, (uint64_t)faults->back_ms), true);
    gossip_sim_pause(f.sim, sleeper, pause, pause + (int64_t)rng_below(rng, 20000));
    gossip_sim_run(f.sim, LIMIT);
    /* crashed for good, or came back when all the others were through and gone: then it ran alone,
     * and says so */
    bool lost = !f.finished[victim] || (back && f.report[victim].live == 1);
    for (size_t p = 0; p < f.peers; p++)
        if (p != victim && !f.finished[p])
            fail_msg("seed %llu: peer %zu hangs", (unsigned long long)f.net.seed, p);
    assert_true(f.report[(victim + 1) % 6].live >= 4);
    federation_assert_one(&f, lost ? 1u << victim : 0);
    federation_free(&f);
}
