/* The step: an event comes in, then everything that can go on does. */
#include <string.h>

#include "gossip/pushsum.h"
#include "gossip/replica.h"

/* Time runs on; a stall of my own (a stopped process, a laptop asleep) is nobody else's silence. */
static void take_time(gossip_t *g, int64_t now_ms)
{
    if (now_ms <= g->now && g->started)
        return;
    int64_t gap = now_ms - g->now;
    g->now = now_ms;
    if (!g->started || gap < g->config.suspect_ms || gap < 2 * g->config.announce_ms)
        return;
    if (gap >= g->config.dead_ms)
        g->stalled_ms = now_ms;
    for (size_t p = 0; p < g->config.peers; p++)
        g->members[p].heard_ms += gap;
    g->started_ms += g->phase <= PHASE_PUBLISH ? gap : 0;
    g->began_ms += gap;
    for (size_t k = 0; k < g->link_count; k++)
        for (int i = 0; i < 2; i++)
            g->links[k].arrived_ms[i] += gap;
    if (g->deadline_ms < INT64_MAX - gap)
        g->deadline_ms += gap;
}

static void start(gossip_t *g, const gossip_event_t *event)
{
    if (g->started || !event->values)
        return;
    g->started = true;
    g->started_ms = event->now_ms;
    g->announced_ms = event->now_ms - g->config.announce_ms;
    memcpy(g->mixed, event->values, g->bytes);
    if (g->pushsum)
        pushsum_reset(g);
    replicas_start(g);
    if (g->config.rejoin && g->link_count > 0)
        g->phase = PHASE_JOIN;
    else
        exchange_begin(g);
}

static void frame(gossip_t *g, const gossip_event_t *event)
{
    count(g, GOSSIP_COUNT_FRAMES_IN);
    if (event->from >= g->config.peers || !link_of(g, event->from)) {
        count(g, GOSSIP_COUNT_FRAMES_FOREIGN);
        return;
    }
    switch (event->channel) {
    case GOSSIP_CONTROL:
        announce_heard(g, event->from, event->bytes, event->size);
        break;
    case GOSSIP_DATA:
        data_heard(g, event->from, event->bytes, event->size);
        break;
    case GOSSIP_REPAIR_ASK:
        repair_ask_heard(g, event->from, event->bytes, event->size);
        break;
    case GOSSIP_REPAIR_ANSWER:
        repair_answer_heard(g, event->from, event->bytes, event->size);
        break;
    }
}

static void leave(gossip_t *g)
{
    g->members[g->config.self].status.flags |= WIRE_LEFT;
    announce_send(g, true);
    g->phase = PHASE_FINISHED;
    act(g, GOSSIP_ACT_FINISHED);
}

static int64_t next_wake(const gossip_t *g)
{
    int64_t at = g->announced_ms + (g->announce_due ? ANNOUNCE_MIN_MS : g->config.announce_ms);
    int64_t liveness = g->now + (g->config.suspect_ms < 1000 ? g->config.suspect_ms : 1000);
    int64_t repair = repair_wake(g);
    at = at < liveness ? at : liveness;
    at = at < repair ? at : repair;
    if (g->phase == PHASE_EXCHANGE && g->deadline_ms < at)
        at = g->deadline_ms;
    return at > g->now ? at : g->now + 1;
}

/* Each returns true when it changed something that another may go on from. */
static void advance(gossip_t *g)
{
    liveness_advance(g);
    bool more = true;
    while (more && g->phase != PHASE_FINISHED)
        more = catchup_advance(g) || exchange_advance(g) || adopt_advance(g) || stage_advance(g) ||
               announce_advance(g) || serve_advance(g);
    if (g->phase == PHASE_FINISHED)
        return;
    repair_advance(g);
    act(g, GOSSIP_ACT_WAKE)->at_ms = next_wake(g);
}

void gossip_step(gossip_t *g, const gossip_event_t *event, gossip_actions_t *actions)
{
    if (g->phase == PHASE_FINISHED || (!g->started && event->kind != GOSSIP_EV_START))
        return;
    g->out = actions;
    take_time(g, event->now_ms);
    switch (event->kind) {
    case GOSSIP_EV_START:
        start(g, event);
        break;
    case GOSSIP_EV_TICK:
        break;
    case GOSSIP_EV_FRAME:
        frame(g, event);
        break;
    case GOSSIP_EV_MODEL:
        exchange_model(g, event);
        break;
    case GOSSIP_EV_STATISTICS:
        adopt_statistics(g, event->bytes, event->size);
        break;
    case GOSSIP_EV_MERGED:
        adopt_merged(g, event->values);
        break;
    case GOSSIP_EV_RECORD:
        stage_record(g, event->round, event->bytes, event->size);
        break;
    case GOSSIP_EV_END_TRAINING:
        if (g->phase < PHASE_ADOPT)
            exchange_end_training(g, g->phase == PHASE_JOIN ? g->exchange - 1 : g->exchange);
        break;
    case GOSSIP_EV_LEAVE:
        leave(g);
        break;
    }
    if (g->phase != PHASE_FINISHED)
        advance(g);
    g->out = NULL;
}
