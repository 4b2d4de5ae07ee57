/* gossip/sim.h: many peers in one process on a virtual clock, the same gossip_step. Frames travel
 * through a queue ordered by (time, sequence), so a run replays bit for bit. */
#pragma once
#include <stdio.h>

#include "gossip/gossip.h"

typedef struct gossip_sim_s gossip_sim_t;

typedef struct {
    uint64_t seed;    /* for losses and delays */
    double delay_ms;  /* of every frame */
    double jitter_ms; /* added, uniform in [0, jitter) */
    double loss;      /* probability that a CONTROL or DATA frame is dropped, [0, 1) */
    double bandwidth; /* bytes a second a link, 0 for unlimited */
} gossip_sim_options_t;

/* What the node of peer `peer` does with an action to the node. It may fill *answer (values and
 * bytes are copied at once) and must then return true and set *busy_ms, the virtual time the work
 * takes; the answer arrives after that. */
typedef bool gossip_sim_node_fn(void *user, size_t peer, const gossip_action_t *action,
                                gossip_event_t *answer, int64_t *busy_ms);

/* Gives what a node left open: with `collect` set it may answer TRAIN with a MODEL whose values are
 * NULL, and goes on working; when the virtual time of the answer has come `collect` waits for the
 * work and fills in the values, good until it is called again. false: there is no answer. It is not
 * called for a peer that has crashed since. */
typedef bool gossip_sim_collect_fn(void *user, size_t peer, gossip_event_t *answer);
typedef void gossip_sim_call_fn(void *user);

err_t gossip_sim_new(gossip_sim_t **sim, const gossip_sim_options_t *options, size_t peers,
                     gossip_sim_node_fn *node, void *user);
void gossip_sim_destroy(gossip_sim_t **sim);
/* `user` is the node's. */
void gossip_sim_collect(gossip_sim_t *sim, gossip_sim_collect_fn *collect);
/* Adds (or, after a crash, starts again) peer config->self at virtual time `at_ms`. */
err_t gossip_sim_start(gossip_sim_t *sim, const gossip_config_t *config, const float *values,
                       int64_t at_ms);
/* From `at_ms` on the peer neither sends nor hears (crash), or until `until_ms` (pause). */
void gossip_sim_crash(gossip_sim_t *sim, size_t peer, int64_t at_ms);
/* At once, ahead of all else that happens at this moment: for a gossip_sim_call_fn. */
void gossip_sim_crash_now(gossip_sim_t *sim, size_t peer);
void gossip_sim_pause(gossip_sim_t *sim, size_t peer, int64_t at_ms, int64_t until_ms);
/* Links between peers with side[a] != side[b] lose everything in between; side (peers) is copied.
 */
void gossip_sim_partition(gossip_sim_t *sim, const uint8_t *side, int64_t at_ms, int64_t until_ms);
/* Calls the function at `at_ms`, ahead of what is planned later for the same moment. It may plan
 * more, from gossip_sim_now_ms on. */
void gossip_sim_call(gossip_sim_t *sim, gossip_sim_call_fn *function, void *user, int64_t at_ms);
/* Gives peer `peer` an event from its node at `at_ms` (END_TRAINING, LEAVE): copied. */
void gossip_sim_give(gossip_sim_t *sim, size_t peer, const gossip_event_t *event, int64_t at_ms);
/* Called after every step of every peer, for traces; the event and its actions are good until it
 * returns. */
typedef void gossip_sim_watch_fn(void *user, size_t peer, const gossip_event_t *event,
                                 const gossip_actions_t *actions);
void gossip_sim_watch(gossip_sim_t *sim, gossip_sim_watch_fn *watch, void *user);
/* Writes a trace of all steps from now on to `file`, which stays the caller's: what came to each
 * peer, and a digest of what it did. Call it ahead of the first start. */
void gossip_sim_trace(gossip_sim_t *sim, FILE *file, const hash_t *federation);
/* Whether all of it could be written up to now. */
bool gossip_sim_traced(const gossip_sim_t *sim);
/* Reads a trace back, does every step again and compares: no clock, no network, no training.
 * `config` gives what a peer was started with; samples, incarnation, first_round and rejoin are the
 * trace's. *steps is how many were the same.
 * ERR_FORMAT: no trace, or a damaged one; ERR_REFUSED: of another federation, or a step that does
 * something else (the message says which); and what `config` and gossip_new give. */
typedef err_t gossip_replay_config_fn(void *user, size_t peer, gossip_config_t *config);
err_t gossip_sim_replay(uint64_t *steps, FILE *file, size_t peers, const hash_t *federation,
                        gossip_replay_config_fn *config, void *user);
/* Ends gossip_sim_run after the step in work: a node that failed calls it. */
void gossip_sim_stop(gossip_sim_t *sim);
/* Runs until every started peer is FINISHED or crashed, or the clock passes `limit_ms`. Returns the
 * number of peers that finished. */
size_t gossip_sim_run(gossip_sim_t *sim, int64_t limit_ms);
/* Peers that run and have not finished. */
size_t gossip_sim_at_work(const gossip_sim_t *sim);
bool gossip_sim_finished(const gossip_sim_t *sim, size_t peer);
int64_t gossip_sim_now_ms(const gossip_sim_t *sim);
const gossip_t *gossip_sim_peer(const gossip_sim_t *sim, size_t peer);
/* Payload bytes that it sent, and that came to it. */
uint64_t gossip_sim_bytes(const gossip_sim_t *sim, size_t peer);
uint64_t gossip_sim_bytes_received(const gossip_sim_t *sim, size_t peer);

/* What it has done up to now. A frame that goes to many is one buffer. */
typedef struct {
    uint64_t steps;            /* of gossip_step */
    uint64_t frames;           /* SEND actions */
    uint64_t messages, bytes;  /* a frame counts for each receiver */
    uint64_t lost;             /* messages that no live peer got */
    uint64_t frame_bytes;      /* on their way now */
    uint64_t frame_bytes_most; /* at any time */
} gossip_sim_totals_t;
gossip_sim_totals_t gossip_sim_totals(const gossip_sim_t *sim);
