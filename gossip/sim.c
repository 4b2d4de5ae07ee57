#include "gossip/sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { CHANNELS = 4, SPANS_MAX = 64 };

typedef enum { HAPPENS_STEP, HAPPENS_START, HAPPENS_CRASH } happening_kind_t;

/* Something that will happen. Everything it points to is its own. */
typedef struct {
    int64_t at_us;
    uint64_t sequence;
    happening_kind_t kind;
    size_t peer;
    uint64_t life; /* of the peer that it is for: what was meant for a crashed one is dropped */
    gossip_event_t event;
    float *values;
    uint8_t *bytes;
    gossip_t *gossip; /* START */
    uint32_t *neighbours;
    size_t neighbour_count, floats;
} happening_t;

typedef struct {
    gossip_t *gossip;
    uint32_t *neighbours;
    size_t neighbour_count, floats;
    uint64_t life;
    bool running, finished;
    int64_t wake_us; /* the latest WAKE */
    int64_t node_free_us;
    int64_t *busy_us;      /* (neighbour_count) link in use until then */
    int64_t *delivered_us; /* (neighbour_count * CHANNELS): frames keep their order */
    uint64_t bytes;
    uint64_t received;
} sim_peer_t;

typedef struct {
    size_t peer;
    int64_t from_us, until_us;
    uint8_t *side;
} span_t;

struct gossip_sim_s {
    gossip_sim_options_t options;
    size_t peers;
    sim_peer_t *peer;
    gossip_sim_node_fn *node;
    void *user;
    gossip_sim_watch_fn *watch;
    void *watch_user;
    rng_t rng;
    int64_t now_us;
    uint64_t sequence;
    happening_t *heap;
    size_t heap_count, heap_capacity;
    size_t starts; /* still to come */
    span_t pauses[SPANS_MAX], partitions[SPANS_MAX];
    size_t pause_count, partition_count;
    gossip_actions_t actions;
    bool stopped; /* by gossip_sim_stop */
};

/* -- The queue: a binary heap by (time, sequence) -- */

static bool earlier(const happening_t *a, const happening_t *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

static void push(gossip_sim_t *sim, happening_t happening)
{
    if (sim->heap_count == sim->heap_capacity) {
        sim->heap_capacity = sim->heap_capacity ? 2 * sim->heap_capacity : 256;
        sim->heap = xrealloc(sim->heap, sim->heap_capacity, sizeof *sim->heap);
    }
    happening.sequence = sim->sequence++;
    size_t i = sim->heap_count++;
    while (i > 0 && earlier(&happening, &sim->heap[(i - 1) / 2])) {
        sim->heap[i] = sim->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->heap[i] = happening;
}

static happening_t pop(gossip_sim_t *sim)
{
    happening_t top = sim->heap[0], last = sim->heap[--sim->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= sim->heap_count)
            break;
        if (child + 1 < sim->heap_count && earlier(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!earlier(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return top;
}

static void drop(happening_t *happening)
{
    free(happening->values);
    free(happening->bytes);
    free(happening->neighbours);
    gossip_destroy(&happening->gossip);
}

static void *copy(const void *from, size_t size)
{
    void *to = xcalloc(size ? size : 1, 1);
    if (size)
        memcpy(to, from, size);
    return to;
}

/* -- Making -- */

err_t gossip_sim_new(gossip_sim_t **out_sim, const gossip_sim_options_t *options, size_t peers,
                     gossip_sim_node_fn *node, void *user)
{
    err_t err = ERR_OK;
    *out_sim = NULL;
    if (peers < 1 || peers > GOSSIP_PEERS_MAX)
        FAIL(ERR_CONFIG, "simulator: %zu peers, accepted are 1 to %d", peers, GOSSIP_PEERS_MAX);
    if (!(options->loss >= 0 && options->loss < 1) || !(options->delay_ms >= 0) ||
        !(options->jitter_ms >= 0) || !(options->bandwidth >= 0))
        FAIL(ERR_CONFIG,
             "simulator: loss must be in [0, 1), delay, jitter and bandwidth at least 0");
    gossip_sim_t *sim = xcalloc(1, sizeof *sim);
    sim->options = *options;
    sim->peers = peers;
    sim->peer = xcalloc(peers, sizeof *sim->peer);
    sim->node = node;
    sim->user = user;
    rng_init(&sim->rng, options->seed, RNG_STREAM_NETWORK, 0, 0);
    *out_sim = sim;
out:
    return err;
}

static void free_peer(sim_peer_t *peer)
{
    gossip_destroy(&peer->gossip);
    free(peer->neighbours);
    free(peer->busy_us);
    free(peer->delivered_us);
    peer->neighbours = NULL;
    peer->busy_us = peer->delivered_us = NULL;
}

void gossip_sim_destroy(gossip_sim_t **sim_at)
{
    gossip_sim_t *sim = *sim_at;
    if (!sim)
        return;
    for (size_t i = 0; i < sim->heap_count; i++)
        drop(&sim->heap[i]);
    for (size_t p = 0; p < sim->peers; p++)
        free_peer(&sim->peer[p]);
    for (size_t i = 0; i < sim->partition_count; i++)
        free(sim->partitions[i].side);
    gossip_actions_free(&sim->actions);
    free(sim->heap);
    free(sim->peer);
    free(sim);
    *sim_at = NULL;
}

err_t gossip_sim_start(gossip_sim_t *sim, const gossip_config_t *config, const float *values,
                       int64_t at_ms)
{
    err_t err = ERR_OK;
    happening_t start = {.at_us = at_ms * 1000, .kind = HAPPENS_START, .peer = config->self};
    if (config->self >= sim->peers || config->peers != sim->peers)
        FAIL(ERR_CONFIG, "simulator: peer %zu of %zu, but it was made for %zu peers", config->self,
             config->peers, sim->peers);
    TRY(gossip_new(&start.gossip, config));
    start.floats = config->table.floats;
    start.values = copy(values, start.floats * sizeof *values);
    start.neighbour_count = config->neighbour_count;
    start.neighbours =
        copy(config->neighbours, config->neighbour_count * sizeof *config->neighbours);
    sim->starts++;
    push(sim, start);
out:
    return err;
}

void gossip_sim_crash(gossip_sim_t *sim, size_t peer, int64_t at_ms)
{
    push(sim, (happening_t){.at_us = at_ms * 1000, .kind = HAPPENS_CRASH, .peer = peer});
}

void gossip_sim_pause(gossip_sim_t *sim, size_t peer, int64_t at_ms, int64_t until_ms)
{
    CHECK(sim->pause_count < SPANS_MAX);
    sim->pauses[sim->pause_count++] =
        (span_t){.peer = peer, .from_us = at_ms * 1000, .until_us = until_ms * 1000};
}

void gossip_sim_partition(gossip_sim_t *sim, const uint8_t *side, int64_t at_ms, int64_t until_ms)
{
    CHECK(sim->partition_count < SPANS_MAX);
    sim->partitions[sim->partition_count++] = (span_t){
        .from_us = at_ms * 1000, .until_us = until_ms * 1000, .side = copy(side, sim->peers)};
}

/* An event from the node; life 0 stands for whatever runs then. */
static void push_event(gossip_sim_t *sim, size_t peer, uint64_t life, const gossip_event_t *event,
                       size_t floats, int64_t at_us)
{
    happening_t step = {
        .at_us = at_us, .kind = HAPPENS_STEP, .peer = peer, .life = life, .event = *event};
    if (event->values && floats)
        step.values = copy(event->values, floats * sizeof *event->values);
    if (event->bytes)
        step.bytes = copy(event->bytes, event->size);
    push(sim, step);
}

void gossip_sim_give(gossip_sim_t *sim, size_t peer, const gossip_event_t *event, int64_t at_ms)
{
    push_event(sim, peer, 0, event, sim->peer[peer].floats, at_ms * 1000);
}

void gossip_sim_watch(gossip_sim_t *sim, gossip_sim_watch_fn *watch, void *user)
{
    sim->watch = watch;
    sim->watch_user = user;
}

/* -- The network -- */

static bool parted(const gossip_sim_t *sim, size_t a, size_t b)
{
    for (size_t i = 0; i < sim->partition_count; i++) {
        const span_t *span = &sim->partitions[i];
        if (sim->now_us >= span->from_us && sim->now_us < span->until_us &&
            span->side[a] != span->side[b])
            return true;
    }
    return false;
}

/* Sends over the k-th link of `from`. Every frame draws the same random numbers, lost or not. */
static void transmit(gossip_sim_t *sim, size_t from, size_t k, const gossip_action_t *action)
{
    sim_peer_t *sender = &sim->peer[from];
    size_t to = sender->neighbours[k];
    double chance = rng_double(&sim->rng), jitter = rng_double(&sim->rng);
    bool lossy = action->channel == GOSSIP_CONTROL || action->channel == GOSSIP_DATA;
    sender->bytes += action->size;
    if (!sim->peer[to].running || parted(sim, from, to) || (lossy && chance < sim->options.loss))
        return;
    sim->peer[to].received += action->size;
    int64_t at = sim->now_us;
    if (sim->options.bandwidth > 0) {
        if (sender->busy_us[k] > at)
            at = sender->busy_us[k];
        at += (int64_t)((double)action->size / sim->options.bandwidth * 1e6);
        sender->busy_us[k] = at;
    }
    at += (int64_t)(1000 * (sim->options.delay_ms + jitter * sim->options.jitter_ms));
    int64_t *last = &sender->delivered_us[k * CHANNELS + action->channel];
    if (at < *last)
        at = *last;
    *last = at;
    gossip_event_t event = {.kind = GOSSIP_EV_FRAME,
                            .bytes = action->bytes,
                            .size = action->size,
                            .from = from,
                            .channel = action->channel};
    push_event(sim, to, sim->peer[to].life, &event, 0, at);
}

static void send_out(gossip_sim_t *sim, size_t from, const gossip_action_t *action)
{
    const sim_peer_t *sender = &sim->peer[from];
    bool all = action->channel == GOSSIP_CONTROL || action->channel == GOSSIP_DATA;
    for (size_t k = 0; k < sender->neighbour_count; k++)
        if (all || sender->neighbours[k] == action->to)
            transmit(sim, from, k, action);
}

/* -- The node: one job after the other -- */

static void to_node(gossip_sim_t *sim, size_t p, const gossip_action_t *action)
{
    sim_peer_t *peer = &sim->peer[p];
    gossip_event_t answer = {0};
    int64_t busy_ms = 0;
    if (action->kind == GOSSIP_ACT_FINISHED)
        peer->finished = true;
    if (!sim->node(sim->user, p, action, &answer, &busy_ms))
        return;
    if (peer->node_free_us < sim->now_us)
        peer->node_free_us = sim->now_us;
    peer->node_free_us += busy_ms * 1000;
    push_event(sim, p, peer->life, &answer, peer->floats, peer->node_free_us);
}

static void carry_out(gossip_sim_t *sim, size_t p)
{
    sim_peer_t *peer = &sim->peer[p];
    for (size_t i = 0; i < sim->actions.count; i++) {
        const gossip_action_t *action = &sim->actions.items[i];
        if (action->kind == GOSSIP_ACT_SEND) {
            send_out(sim, p, action);
        } else if (action->kind == GOSSIP_ACT_WAKE) {
            peer->wake_us = action->at_ms * 1000;
            gossip_event_t tick = {.kind = GOSSIP_EV_TICK};
            push_event(sim, p, peer->life, &tick, 0, peer->wake_us);
        } else {
            to_node(sim, p, action);
        }
    }
}

static void step(gossip_sim_t *sim, size_t p, gossip_event_t *event)
{
    event->now_ms = sim->now_us / 1000;
    gossip_step(sim->peer[p].gossip, event, &sim->actions);
    if (sim->watch)
        sim->watch(sim->watch_user, p, event, &sim->actions);
    carry_out(sim, p);
    gossip_actions_clear(&sim->actions);
}

/* -- Running -- */

static int64_t paused_until(const gossip_sim_t *sim, size_t peer)
{
    for (size_t i = 0; i < sim->pause_count; i++)
        if (sim->pauses[i].peer == peer && sim->now_us >= sim->pauses[i].from_us &&
            sim->now_us < sim->pauses[i].until_us)
            return sim->pauses[i].until_us;
    return 0;
}

static void start_peer(gossip_sim_t *sim, happening_t *h)
{
    sim_peer_t *peer = &sim->peer[h->peer];
    uint64_t life = peer->life + 1, bytes = peer->bytes, received = peer->received;
    free_peer(peer);
    *peer = (sim_peer_t){.gossip = h->gossip,
                         .neighbours = h->neighbours,
                         .life = life,
                         .neighbour_count = h->neighbour_count,
                         .floats = h->floats,
                         .running = true,
                         .bytes = bytes,
                         .received = received,
                         .node_free_us = sim->now_us};
    peer->busy_us = xcalloc(h->neighbour_count + 1, sizeof *peer->busy_us);
    peer->delivered_us = xcalloc((h->neighbour_count + 1) * CHANNELS, sizeof(int64_t));
    h->gossip = NULL;
    h->neighbours = NULL;
    sim->starts--;
    gossip_event_t event = {.kind = GOSSIP_EV_START, .values = h->values};
    step(sim, h->peer, &event);
}

static void happen(gossip_sim_t *sim, happening_t *h)
{
    sim_peer_t *peer = &sim->peer[h->peer];
    switch (h->kind) {
    case HAPPENS_START:
        start_peer(sim, h);
        break;
    case HAPPENS_CRASH:
        peer->running = false;
        peer->life++;
        break;
    case HAPPENS_STEP:
        if (!peer->running || peer->finished || (h->life && h->life != peer->life))
            break;
        if (h->event.kind == GOSSIP_EV_TICK && h->at_us < peer->wake_us)
            break; /* a later WAKE counts */
        if (h->event.kind == GOSSIP_EV_FRAME && parted(sim, h->event.from, h->peer))
            break;
        h->event.values = h->values;
        h->event.bytes = h->bytes;
        step(sim, h->peer, &h->event);
        break;
    }
}

static bool at_work(const gossip_sim_t *sim)
{
    if (sim->starts)
        return true;
    for (size_t p = 0; p < sim->peers; p++)
        if (sim->peer[p].running && !sim->peer[p].finished)
            return true;
    return false;
}

void gossip_sim_stop(gossip_sim_t *sim)
{
    sim->stopped = true;
}

size_t gossip_sim_run(gossip_sim_t *sim, int64_t limit_ms)
{
    int64_t limit_us = limit_ms > INT64_MAX / 1000 ? INT64_MAX : limit_ms * 1000;
    while (!sim->stopped && sim->heap_count && at_work(sim) && sim->heap[0].at_us <= limit_us) {
        happening_t h = pop(sim);
        if (h.at_us > sim->now_us)
            sim->now_us = h.at_us;
        int64_t until = h.kind == HAPPENS_STEP ? paused_until(sim, h.peer) : 0;
        if (until) { /* a stopped process: what comes waits in its sockets */
            h.at_us = until;
            push(sim, h);
            continue;
        }
        happen(sim, &h);
        drop(&h);
    }
    size_t finished = 0;
    for (size_t p = 0; p < sim->peers; p++)
        finished += sim->peer[p].finished;
    return finished;
}

int64_t gossip_sim_now_ms(const gossip_sim_t *sim)
{
    return sim->now_us / 1000;
}

const gossip_t *gossip_sim_peer(const gossip_sim_t *sim, size_t peer)
{
    return sim->peer[peer].gossip;
}

uint64_t gossip_sim_bytes(const gossip_sim_t *sim, size_t peer)
{
    return sim->peer[peer].bytes;
}

uint64_t gossip_sim_bytes_received(const gossip_sim_t *sim, size_t peer)
{
    return sim->peer[peer].received;
}
