/* gossip/async.h: training without rounds in common, internal to gossip/. Age-weighted, after
 * Hegedus 2021 (Decentralized learning works, algorithm 1 with its merge by age) and Ormandi 2013:
 *
 *   age_i is 1 at first; a local round adds 1
 *   for a neighbour's newest model, if it was not mixed yet:
 *     a = age_j / (age_i + age_j),  x_i <- (1 - a) x_i + a x_j,
 *     age_i <- max(age_i, age_j)
 *
 * Those of several neighbours are mixed in one go: each weighs its age, at most age_i, divided by
 * how many rounds it is behind, if that is more than one, and x_i weighs age_i. At most age_i is
 * ours: an age is what its peer claims, and one that claimed the largest would own all who hear it.
 * So whatever it claims counts no more than one's own model. What is left to it: ages spread, and
 * who has not heard of that one yet is left out as too old until it has; they end at the largest
 * that there can be, 1 + rounds x peers, where all models count alike. The division is that of Xie
 * 2019 (Asynchronous federated optimization, polynomial weights, a = 1): late in training all ages
 * are alike, and a model of ten rounds ago would take back ten rounds of what it weighs.
 *
 * What a round's training adds to the weights, x_i - b_i, b_i being what it began with, is ours,
 * too. A model that came when u of the round were still to go knows nothing of u of it, and an
 * average with x_i would take that much back, as large a part of it as the model weighs; at every
 * peer, every round. So x_j is averaged with what x_i was when it came, b_i + (1 - u) (x_i - b_i)
 * in a straight line, and the rest goes on top, whole (coded_keep); u is the mean over the models
 * at hand, by their weights, of the time since the last mix, whatever else filled it. BatchNorm's statistics are just averaged.
 *
 * The numbers of a peer's training models are its own local rounds. It publishes each when it is
 * trained, mixes what is there, and goes on: nobody is waited for. A model is mixed once, and none
 * whose number is not above the last one's of its peer; one more than config.staleness younger in
 * age than mine is left out. Ages are whole numbers and never averaged.
 *
 * Who has ended its training goes on with exchange rounds + 1, the first of the consensus, whatever
 * its last number was; so `rounds` must be the same at all members. There everything is as with the
 * other algorithms: a neighbour that still trains is waited for, or until the deadline. */
#pragma once
#include "gossip/mix.h"
#include "gossip/state.h"

/* The exchange in work is a training exchange under ASYNC. */
bool async_training(const gossip_t *g);
/* Ahead of the first consensus exchange: its number. Does nothing otherwise. */
void async_end(gossip_t *g);
/* The largest age that there can be: all rounds of all peers, one behind the other. */
uint64_t async_oldest(const gossip_t *g);
/* A local round is over, or none of it came to be. */
void async_trained(gossip_t *g, bool sound);
/* Where chunks of this model go: 0 or 1, -1 for one that came too late. */
int async_slot(const gossip_t *g, const link_t *link, const wire_chunk_t *chunk);
/* This is the model that a neighbour gives to the first consensus exchange, and I train still: it
 * is kept, for it is pushed but once. Its slot is where that exchange looks for it. */
bool async_meets(const gossip_t *g, const wire_chunk_t *chunk);
int async_meeting_slot(const gossip_t *g, link_t *link, const wire_chunk_t *chunk);
/* The models at hand in ascending peer order, oneself among them; out weights, residual, self as in
 * an exchange's mix. Takes their ages over, and will not give the same ones again. Returns how
 * many, at most link_count + 1. */
size_t async_gather(gossip_t *g, gossip_part_t *parts, double *weights, double *residual,
                    size_t *self);
/* The model that is to be asked for chunks of: a slot, or NULL. */
assembly_t *async_missing(gossip_t *g, link_t *link);
/* Its peer does not serve it any more. */
void async_gone(link_t *link, const wire_object_t *object);
