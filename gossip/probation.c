/* Neighbours on probation, under clipped gossip where all hear all. Clipping bounds how far a
 * hostile model moves mine in one exchange, not over many: one that lies far off pulls the same way
 * every time, and one that is refused leaves its weight to me, so that averaging slows down. Both
 * give themselves away with their first model. From then on such a neighbour counts in no exchange
 * until it has shown as many sound and near models in a row as it owes: 1 after its first offence,
 * twice as many after each further one that counted, 64 at most. An offence is a model that is
 * refused (NaN, Inf, damage), that has another n than its peer announced, or that is far: in a
 * training exchange more than BEYOND radii away, and more than twice what the consensus may be
 * apart. The radius is clipped gossip's adaptive one, all peers counted alike, for n is what a peer
 * says of itself: ||x_j - x|| in the quadratic mean over the m - 1 - f nearest, times
 * sqrt((m - 1 - f) / f). Late models are no offence; nor are far ones behind the training, where
 * whoever comes last is far from those who are one already, and clipping pulls less every time.
 *
 * Who is on probation is left out of the S that I publish and weighs nothing in the mix, as if it
 * were no neighbour; W stays symmetric among all who leave out the same ones. All else goes on. Its
 * models are waited for, looked at, and bound the certificate, and its BatchNorm statistics are
 * among those that clipped gossip trims. No more than f are on probation at once, those that owe
 * most, and no more than leave the rule its 2f + 1 models.
 *
 * An honest peer may lie as far off, back from a long absence: it hears the others, comes to them,
 * and counts again one near model later. On a sparser graph two parts that have drifted apart could
 * leave out one another, each edge between them at both ends, for ever; so there it is clipping
 * alone. What a peer knows of its neighbours' debts ends with its process.
 *
 * Ours. BEYOND is the factor that tells of an ADOPT that is far (adopt.c). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gossip/robust.h"
#include "gossip/state.h"

enum { BEYOND = 4, OWED_MOST = 64 };

/* How many may be on probation in an exchange of so many models. */
static size_t room_for(const gossip_t *g, size_t models)
{
    size_t least = gossip_robust_models(g->config.robust, g->config.hostile);
    if (g->config.robust != GOSSIP_ROBUST_CLIPPED || g->config.diameter > 1 || g->drawn)
        return 0;
    size_t spare = models > least ? models - least : 0;
    return spare < g->config.hostile ? spare : g->config.hostile;
}

/* The neighbour in my graph that owes most and is not on probation; of equals the first. */
static link_t *next(gossip_t *g)
{
    link_t *most = NULL;
    for (size_t k = 0; k < g->link_count; k++) {
        link_t *link = &g->links[k];
        if (link->in_graph && !link->probation && link->owed > (most ? most->owed : 0))
            most = link;
    }
    return most;
}

static void tell(gossip_t *g, const link_t *link)
{
    char text[128], how[48] = "was refused";
    if (isinf(link->radii)) /* a radius of 0 */
        snprintf(how, sizeof how, "is far from the others, which are one");
    else if (link->radii > 0)
        snprintf(how, sizeof how, "is %.3g clipping radii away", link->radii);
    snprintf(text, sizeof text, "one of its models %s; they count again when some were near", how);
    act_note(g, GOSSIP_NOTE_PROBATION, link->peer, g->exchange, text);
}

void probation_publish(gossip_t *g)
{
    size_t models = 1;
    link_t *link;
    for (size_t k = 0; k < g->link_count; k++) {
        models += g->links[k].in_graph;
        g->links[k].probation = false;
    }
    for (size_t room = room_for(g, models); room > 0 && (link = next(g)) != NULL; room--) {
        link->probation = true;
        if (!link->told)
            tell(g, link);
        link->told = true;
    }
}

/* What it does on probation does no harm, and is no reason to keep one longer that comes nearer. */
static void offended(link_t *link, double radii)
{
    if (!link->probation)
        link->offence = link->offence ? 2 * link->offence : 1;
    if (link->offence > OWED_MOST)
        link->offence = OWED_MOST;
    link->owed = link->offence;
    link->radii = radii;
}

static void behaved(link_t *link)
{
    if (link->owed > 0 && --link->owed == 0)
        link->told = false;
}

/* clipped gossip's adaptive radius, as if all weighed alike. */
static double radius_of(const gossip_mixing_t *mixing, const double *distances)
{
    gossip_mixing_t alike = *mixing;
    gossip_part_t *parts = xcalloc(mixing->count, sizeof *parts);
    double *squared = xcalloc(mixing->count, sizeof *squared);
    for (size_t k = 0; k < mixing->count; k++) {
        squared[k] = distances[k] * distances[k];
        parts[k].weight = 1;
    }
    alike.parts = parts;
    alike.clip = 0;
    double radius = gossip_clip_radius(&alike, squared);
    free(parts);
    free(squared);
    return radius;
}

void probation_judge(gossip_t *g, const gossip_mixing_t *mixing, link_t *const *links,
                     const double *distances)
{
    if (room_for(g, mixing->count) > 0) {
        double radius = radius_of(mixing, distances);
        double far = fmax(BEYOND * radius, 2 * g->config.consensus_distance);
        for (size_t k = 0; k < mixing->count; k++) {
            if (k == mixing->self)
                continue;
            if (distances[k] <= far)
                behaved(links[k]);
            else if (g->own_trained[g->exchange & 1])
                offended(links[k], distances[k] / radius);
        }
    }
    for (size_t k = 0; k < g->link_count; k++) {
        link_t *link = &g->links[k];
        const assembly_t *slot = &link->slot[g->exchange & 1];
        if (link->missed_last && link_has(link, g->exchange) && (slot->refused || slot->whole))
            offended(link, 0);
    }
}
