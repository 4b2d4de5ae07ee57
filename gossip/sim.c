/* The simulator: peers, what is planned for them, and the loop. The queue is in sim_queue.c, the
 * network in sim_links.c. */
#include "gossip/sim.h"

#include <stdlib.h>
#include <string.h>

#include "gossip/sim_state.h"

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
    sim->trace = NULL;
    for (size_t i = 0; i < sim->heap_count; i++)
        sim_drop(sim, &sim->heap[i]);
    for (size_t p = 0; p < sim->peers; p++)
        free_peer(&sim->peer[p]);
    for (size_t i = 0; i < sim->partition_count; i++)
        free(sim->partitions[i].side);
    gossip_actions_free(&sim->actions);
    free(sim->pauses);
    free(sim->partitions);
    free(sim->heap);
    free(sim->peer);
    free(sim);
    *sim_at = NULL;
}

void gossip_sim_collect(gossip_sim_t *sim, gossip_sim_collect_fn *collect)
{
    sim->collect = collect;
}

void gossip_sim_watch(gossip_sim_t *sim, gossip_sim_watch_fn *watch, void *user)
{
    sim->watch = watch;
    sim->watch_user = user;
}

/* -- What is planned -- */

err_t gossip_sim_start(gossip_sim_t *sim, const gossip_config_t *config, const float *values,
                       int64_t at_ms)
{
    err_t err = ERR_OK;
    gossip_t *gossip = NULL;
    if (config->self >= sim->peers || config->peers != sim->peers)
        FAIL(ERR_CONFIG, "simulator: peer %zu of %zu, but it was made for %zu peers", config->self,
             config->peers, sim->peers);
    TRY(gossip_new(&gossip, config));
    sim_start_t *start = xcalloc(1, sizeof *start);
    *start = (sim_start_t){.gossip = gossip,
                           .floats = config->table.floats,
                           .samples = config->samples,
                           .incarnation = config->incarnation,
                           .first_round = config->first_round,
                           .rejoin = config->rejoin,
                           .values = copy(values, config->table.floats * sizeof *values),
                           .neighbour_count = config->neighbour_count,
                           .neighbours = copy(config->neighbours, config->neighbour_count *
                                                                      sizeof *config->neighbours)};
    sim->starts++;
    sim_push(sim, (happening_t){.at_us = at_ms * 1000,
                                .kind = HAPPENS_START,
                                .peer = (uint32_t)config->self,
                                .start = start});
out:
    return err;
}

void gossip_sim_crash(gossip_sim_t *sim, size_t peer, int64_t at_ms)
{
    sim_push(sim,
             (happening_t){.at_us = at_ms * 1000, .kind = HAPPENS_CRASH, .peer = (uint32_t)peer});
}

void gossip_sim_crash_now(gossip_sim_t *sim, size_t peer)
{
    sim_peer_t *crashed = &sim->peer[peer];
    sim->at_work -= crashed->running && !crashed->finished;
    crashed->running = false;
    crashed->life++;
}

void gossip_sim_call(gossip_sim_t *sim, gossip_sim_call_fn *function, void *user, int64_t at_ms)
{
    sim->starts++; /* it may start a peer */
    sim_push(sim,
             (happening_t){.at_us = at_ms * 1000, .kind = HAPPENS_CALL, .call = {function, user}});
}

static sim_span_t *add_span(sim_span_t **spans, size_t *count)
{
    *spans = xrealloc(*spans, *count + 1, sizeof **spans);
    return &(*spans)[(*count)++];
}

void gossip_sim_pause(gossip_sim_t *sim, size_t peer, int64_t at_ms, int64_t until_ms)
{
    *add_span(&sim->pauses, &sim->pause_count) =
        (sim_span_t){.peer = peer, .from_us = at_ms * 1000, .until_us = until_ms * 1000};
}

void gossip_sim_partition(gossip_sim_t *sim, const uint8_t *side, int64_t at_ms, int64_t until_ms)
{
    *add_span(&sim->partitions, &sim->partition_count) = (sim_span_t){
        .from_us = at_ms * 1000, .until_us = until_ms * 1000, .side = copy(side, sim->peers)};
}

static void push_given(gossip_sim_t *sim, size_t peer, uint64_t life, const gossip_event_t *event,
                       int64_t at_us)
{
    sim_given_t *given = xcalloc(1, sizeof *given);
    size_t floats = sim->peer[peer].floats;
    given->event = *event;
    given->collected = sim->collect && event->kind == GOSSIP_EV_MODEL && !event->values;
    if (event->values && floats)
        given->values = copy(event->values, floats * sizeof *event->values);
    if (event->bytes)
        given->bytes = copy(event->bytes, event->size);
    sim_push(sim, (happening_t){.at_us = at_us,
                                .kind = HAPPENS_GIVEN,
                                .peer = (uint32_t)peer,
                                .life = life,
                                .given = given});
}

void gossip_sim_give(gossip_sim_t *sim, size_t peer, const gossip_event_t *event, int64_t at_ms)
{
    push_given(sim, peer, 0, event, at_ms * 1000);
}

/* -- The node: one job after the other -- */

static void to_node(gossip_sim_t *sim, size_t p, const gossip_action_t *action)
{
    sim_peer_t *peer = &sim->peer[p];
    gossip_event_t answer = {0};
    int64_t busy_ms = 0;
    if (action->kind == GOSSIP_ACT_FINISHED) {
        sim->at_work -= !peer->finished;
        peer->finished = true;
    }
    if (!sim->node(sim->user, p, action, &answer, &busy_ms))
        return;
    if (peer->node_free_us < sim->now_us)
        peer->node_free_us = sim->now_us;
    peer->node_free_us += busy_ms * 1000;
    push_given(sim, p, peer->life, &answer, peer->node_free_us);
}

/* -- Ticks: the latest WAKE counts, and the queue holds one tick a peer -- */

static void push_tick(gossip_sim_t *sim, size_t p)
{
    sim_peer_t *peer = &sim->peer[p];
    peer->ticking = true;
    peer->tick_us = peer->wake_us;
    peer->tick_sequence = peer->wake_sequence;
    sim_push_again(sim, (happening_t){.at_us = peer->wake_us,
                                      .sequence = peer->wake_sequence,
                                      .kind = HAPPENS_TICK,
                                      .peer = (uint32_t)p,
                                      .life = peer->life});
}

static void wake_at(gossip_sim_t *sim, size_t p, int64_t at_us)
{
    sim_peer_t *peer = &sim->peer[p];
    peer->wake_us = at_us;
    peer->wake_sequence = sim->sequence++;
    if (!peer->ticking || peer->wake_us < peer->tick_us)
        push_tick(sim, p);
}

/* Whether this tick is the one that was asked for last; if that is still to come it goes back. */
static bool tick_counts(gossip_sim_t *sim, const happening_t *h)
{
    sim_peer_t *peer = &sim->peer[h->peer];
    if (!peer->ticking || h->sequence != peer->tick_sequence)
        return false;
    peer->ticking = false;
    if (peer->wake_sequence == h->sequence)
        return true;
    push_tick(sim, h->peer);
    return false;
}

/* -- Steps -- */

/* `frame`: number of the frame that the event is, if it is one. */
static void step(gossip_sim_t *sim, size_t p, gossip_event_t *event, uint64_t frame)
{
    event->now_ms = sim->now_us / 1000;
    sim->totals.steps++;
    gossip_step(sim->peer[p].gossip, event, &sim->actions);
    sim_trace_step(sim, p, event, frame);
    if (sim->watch)
        sim->watch(sim->watch_user, p, event, &sim->actions);
    for (size_t i = 0; i < sim->actions.count; i++) {
        gossip_action_t *action = &sim->actions.items[i];
        if (action->kind == GOSSIP_ACT_SEND)
            sim_send(sim, p, action);
        else if (action->kind == GOSSIP_ACT_WAKE)
            wake_at(sim, p, action->at_ms * 1000);
        else
            to_node(sim, p, action);
    }
    gossip_actions_clear(&sim->actions);
}

static void start_peer(gossip_sim_t *sim, const happening_t *h)
{
    sim_peer_t *peer = &sim->peer[h->peer];
    sim_start_t *start = h->start;
    uint64_t life = peer->life + 1, bytes = peer->bytes, received = peer->received;
    sim->at_work += !(peer->running && !peer->finished);
    free_peer(peer);
    *peer = (sim_peer_t){.gossip = start->gossip,
                         .neighbours = start->neighbours,
                         .life = life,
                         .neighbour_count = start->neighbour_count,
                         .floats = start->floats,
                         .running = true,
                         .bytes = bytes,
                         .received = received,
                         .node_free_us = sim->now_us};
    peer->busy_us = xcalloc(start->neighbour_count + 1, sizeof *peer->busy_us);
    peer->delivered_us = xcalloc((start->neighbour_count + 1) * SIM_CHANNELS, sizeof(int64_t));
    start->gossip = NULL;
    start->neighbours = NULL;
    sim->starts--;
    gossip_event_t event = {.kind = GOSSIP_EV_START, .values = start->values};
    sim_trace_start(sim, h->peer, start);
    step(sim, h->peer, &event, 0);
}

static void give(gossip_sim_t *sim, const happening_t *h)
{
    sim_given_t *given = h->given;
    given->event.values = given->values;
    given->event.bytes = given->bytes;
    if (given->collected && !sim->collect(sim->user, h->peer, &given->event))
        return;
    step(sim, h->peer, &given->event, 0);
}

static void happen(gossip_sim_t *sim, happening_t *h)
{
    sim_peer_t *peer = &sim->peer[h->peer];
    bool alive = peer->running && !peer->finished && (!h->life || h->life == peer->life);
    switch ((happening_kind_t)h->kind) {
    case HAPPENS_START:
        start_peer(sim, h);
        break;
    case HAPPENS_CALL:
        sim->starts--;
        h->call.function(h->call.user);
        break;
    case HAPPENS_CRASH:
        gossip_sim_crash_now(sim, h->peer);
        break;
    case HAPPENS_TICK:
        if (alive && tick_counts(sim, h))
            step(sim, h->peer, &(gossip_event_t){.kind = GOSSIP_EV_TICK}, 0);
        break;
    case HAPPENS_GIVEN:
        if (alive)
            give(sim, h);
        break;
    case HAPPENS_FRAME:
        if (alive && !sim_parted(sim, h->from, h->peer))
            step(sim, h->peer,
                 &(gossip_event_t){.kind = GOSSIP_EV_FRAME,
                                   .bytes = h->frame->bytes,
                                   .size = h->frame->size,
                                   .from = h->from,
                                   .channel = (gossip_channel_t)h->channel},
                 h->frame->number);
        break;
    }
}

/* -- Running -- */

void gossip_sim_stop(gossip_sim_t *sim)
{
    sim->stopped = true;
}

/* A stopped process: what comes waits in its sockets. */
static bool held_back(gossip_sim_t *sim, happening_t *h)
{
    int64_t until = h->kind <= HAPPENS_GIVEN ? sim_paused_until(sim, h->peer) : 0;
    sim_peer_t *peer = &sim->peer[h->peer];
    if (!until)
        return false;
    h->at_us = until;
    if (h->kind != HAPPENS_TICK) {
        sim_push(sim, *h);
    } else if (h->life == peer->life && tick_counts(sim, h)) {
        peer->wake_us = until;
        peer->wake_sequence = sim->sequence++;
        push_tick(sim, h->peer);
    }
    return true;
}

size_t gossip_sim_run(gossip_sim_t *sim, int64_t limit_ms)
{
    int64_t limit_us = limit_ms > INT64_MAX / 1000 ? INT64_MAX : limit_ms * 1000;
    while (!sim->stopped && sim->heap_count && (sim->starts || sim->at_work) &&
           sim->heap[0].at_us <= limit_us) {
        happening_t h = sim_pop(sim);
        if (h.at_us > sim->now_us)
            sim->now_us = h.at_us;
        if (held_back(sim, &h))
            continue;
        happen(sim, &h);
        sim_drop(sim, &h);
    }
    size_t finished = 0;
    for (size_t p = 0; p < sim->peers; p++)
        finished += sim->peer[p].finished;
    return finished;
}

/* -- Looking in -- */

size_t gossip_sim_at_work(const gossip_sim_t *sim)
{
    return sim->at_work;
}

bool gossip_sim_finished(const gossip_sim_t *sim, size_t peer)
{
    return sim->peer[peer].finished;
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

gossip_sim_totals_t gossip_sim_totals(const gossip_sim_t *sim)
{
    return sim->totals;
}
