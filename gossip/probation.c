/* Neighbours on probation, under clipped gossip. Clipping bounds how far a hostile model moves mine
 * in one exchange, not over many: one that lies far off pulls the same way every time, and one that
 * is refused leaves its weight to me, so that averaging slows down. Both give themselves away with
 * their first model. From then on such a neighbour counts in no exchange until it has shown as many
 * sound and near models in a row as it owes: 1 after its first offence, twice as many after each
 * further one, 64 at most. An offence is a model that is refused (NaN, Inf, damage) or that is more
 * than BEYOND radii away from mine, clipped gossip's adaptive radius, whatever gossip.clip is.
 *
 * Who is on probation weighs nothing, and nobody gets its weight: it is left out of the S that I
 * publish, as if it were no neighbour, so W stays symmetric among all who leave out the same ones.
 * All else goes on. Its models are waited for, looked at, and bound the certificate. No more than f
 * are on probation at once, and no more than leave the rule its 2f + 1 models: on a ring nobody is.
 *
 * An honest peer may lie as far off, back from a long absence. It hears the others, comes to them,
 * and counts again one near model later.
 *
 * Ours. BEYOND is as far as an ADOPT may be (adopt.c). */
#include <stdio.h>
#include <stdlib.h>

#include "gossip/robust.h"
#include "gossip/state.h"

enum { BEYOND = 4, OWED_MOST = 64 };

/* How many may be on probation in an exchange of so many models. */
static size_t room_for(const gossip_t *g, size_t models)
{
    size_t least = gossip_robust_models(g->config.robust, g->config.hostile);
    size_t spare = models > least ? models - least : 0;
    return spare < g->config.hostile ? spare : g->config.hostile;
}

static void tell(gossip_t *g, const link_t *link)
{
    char text[128], how[48] = "one was refused";
    if (link->radii > 0)
        snprintf(how, sizeof how, "one was %.3g clipping radii away", link->radii);
    snprintf(text, sizeof text, "its models are left out, %s: until %u near ones in a row", how,
             link->owed);
    act_note(g, GOSSIP_NOTE_PROBATION, link->peer, g->exchange, text);
}

void probation_publish(gossip_t *g)
{
    if (g->config.robust != GOSSIP_ROBUST_CLIPPED)
        return;
    size_t models = 1;
    for (size_t k = 0; k < g->link_count; k++)
        models += g->links[k].in_graph;
    /* Where all weigh alike there is no S. */
    bool alike = drawn_equal(g, g->own_trained[g->exchange & 1]);
    size_t room = alike ? 0 : room_for(g, models);
    for (size_t k = 0; k < g->link_count; k++) {
        link_t *link = &g->links[k];
        bool before = link->probation;
        link->probation = link->in_graph && link->owed > 0 && room > 0;
        room -= link->probation;
        if (link->probation && !before)
            tell(g, link);
    }
}

static void offended(link_t *link, double radii)
{
    link->offence = link->offence ? 2 * link->offence : 1;
    if (link->offence > OWED_MOST)
        link->offence = OWED_MOST;
    link->owed = link->offence;
    link->radii = radii;
}

void probation_judge(gossip_t *g, const gossip_mixing_t *mixing, link_t *const *links,
                     const double *distances)
{
    if (g->config.robust != GOSSIP_ROBUST_CLIPPED)
        return;
    size_t count = mixing->count, weighed = 0;
    gossip_mixing_t adaptive = *mixing;
    adaptive.clip = 0;
    double *squared = xcalloc(count, sizeof *squared);
    for (size_t k = 0; k < count; k++) {
        squared[k] = distances[k] * distances[k];
        weighed += mixing->parts[k].weight > 0;
    }
    double radius = gossip_clip_radius(&adaptive, squared);
    free(squared);
    /* Of fewer models the nearest may be one that lies beside mine, and say nothing of others. */
    for (size_t k = 0; k < count && radius > 0 && room_for(g, weighed) > 0; k++) {
        if (k == mixing->self)
            continue;
        if (distances[k] > BEYOND * radius)
            offended(links[k], distances[k] / radius);
        else if (links[k]->owed > 0)
            links[k]->owed--;
    }
    for (size_t k = 0; k < g->link_count; k++) {
        link_t *link = &g->links[k];
        if (link->missed_last && link_has(link, g->exchange) && link->slot[g->exchange & 1].refused)
            offended(link, 0);
    }
}
