/* Done peers go on announcing and serving until all that live are known to be done. Who knows says
 * so, and its word is as good as one's own count. */
#include "gossip/state.h"

static bool count_done(const gossip_t *g)
{
    for (size_t p = 0; p < g->config.peers; p++) {
        const wire_status_t *status = &g->members[p].status;
        if (p == g->config.self || status->flags)
            continue;
        if (status->incarnation || bit_get(g->present, p) || link_of((gossip_t *)g, p))
            return false;
    }
    return true;
}

bool serve_missed(const gossip_t *g)
{
    bool ended = false;
    if (g->joined <= g->decided && g->mixed_exchange >= g->decided)
        return false;
    for (size_t p = 0; p < g->config.peers; p++) {
        bool done = g->members[p].status.flags & WIRE_DONE;
        if (p == g->config.self)
            continue;
        if (is_live(g, p) && (done || bit_get(g->present, p)))
            return false;
        ended |= done;
    }
    return ended;
}

void serve_lose(gossip_t *g)
{
    g->members[g->config.self].status.flags |= WIRE_LEFT;
    announce_send(g, true);
    g->phase = PHASE_FINISHED;
    act(g, GOSSIP_ACT_LOST);
    act(g, GOSSIP_ACT_FINISHED);
}

bool serve_advance(gossip_t *g)
{
    if (g->phase != PHASE_SERVE)
        return false;
    bool others_know = true, told = false;
    for (size_t k = 0; k < g->link_count; k++) {
        const link_t *link = &g->links[k];
        bool knows = link->announced && link->said.all_done;
        told |= knows;
        others_know &= knows || !is_live(g, link->peer);
    }
    if (!g->all_done && (told || count_done(g))) {
        g->all_done = true;
        g->announce_due = true;
        g->linger = 0;
        return true;
    }
    if (!g->all_done || g->linger == 0 || (!others_know && g->linger < LINGER_ANNOUNCEMENTS))
        return false;
    g->phase = PHASE_FINISHED;
    act(g, GOSSIP_ACT_FINISHED);
    return true;
}
