/* gossip/gossip.h: the protocol as a pure step function.
 *
 *   gossip_step(state, event, actions)
 *
 * No socket, no clock, no random source, no thread: time comes with the event, what is to be done
 * goes out as actions. The same function runs under ZeroMQ (gossip/net.h) and under the simulator
 * (gossip/sim.h). docs/protocol.md has the messages as a grammar and the timers.
 *
 * A run, seen by one peer:
 *   START -> TRAIN(1) -> MODEL(1) -> [exchange 1: publish, hear, mix] -> TRAIN(2) -> ... ->
 * MODEL(R)
 *   -> [exchange R] -> [consensus exchanges R+1 ..: publish the mixed model, hear, mix, until the
 *   certified distance is small] -> [adopt the lowest live peer's weights] -> ESTIMATE ->
 *   STATISTICS -> (lowest live peer only: MERGE -> MERGED) -> CONSENSUS -> [with config.stages:
 *   STAGE(1) -> RECORD(1) -> STAGE(2), with everybody's records of stage 1 -> RECORD(2) -> ... ->
 *   STAGE(stages + 1)] -> serve repair until all live peers have it -> FINISHED.
 * Exchanges are numbered on; one is a training exchange for a peer that trained ahead of it and a
 * consensus exchange for one that did not, so peers that end their training a round apart still
 * exchange. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "gossip/topology.h"

enum {
    GOSSIP_PEERS_MAX = 16384,
    GOSSIP_NAME_MAX = 32, /* with its zero byte; [A-Za-z0-9_.-] */
    GOSSIP_SECTIONS_MAX = 16,
    GOSSIP_CHUNK_BYTES = 256 * 1024,  /* payload of a data chunk at most */
    GOSSIP_CONTROL_BYTES = 16 * 1024, /* a control frame at most */
    GOSSIP_RECORD_BYTES = 16 * 1024 * 1024,
    GOSSIP_FLOATS_MAX = 64 * 1024 * 1024,
    GOSSIP_CERTIFIED_PEERS = 64, /* up to here the certificate knows each peer's place */
    GOSSIP_STAGES_MAX = 2        /* of records behind the consensus */
};

/* -- The model as gossip sees it: segments of one float32 buffer. -- */

typedef enum { GOSSIP_WEIGHTS, GOSSIP_MEAN, GOSSIP_VARIANCE } gossip_segment_kind_t;

typedef struct {
    char name[96];              /* for messages and codecs: "conv1.weight" */
    gossip_segment_kind_t kind; /* MEAN, VARIANCE: a BatchNorm's running statistics */
    size_t offset, count;       /* elements in the buffer; segments are dense and in order */
    size_t rows;                /* output channels, for codecs per row */
    int group;                  /* pairs a MEAN with its VARIANCE; -1 otherwise */
} gossip_segment_t;

typedef struct {
    gossip_segment_t *segments; /* (count), not owned */
    size_t count;
    size_t floats; /* sum of counts */
} gossip_table_t;

/* -- Configuration -- */

typedef enum {
    GOSSIP_DEADLINE_NONE,
    GOSSIP_DEADLINE_ADAPTIVE,
    GOSSIP_DEADLINE_FIXED
} gossip_deadline_t;
typedef enum { GOSSIP_WEIGHTS_SAMPLES, GOSSIP_WEIGHTS_EQUAL } gossip_weighting_t;
/* Rules of mixing that bear hostile neighbours: gossip/robust.h. */
typedef enum {
    GOSSIP_ROBUST_NONE,
    GOSSIP_ROBUST_CLIPPED,
    GOSSIP_ROBUST_TRIMMED,
    GOSSIP_ROBUST_MEDIAN,
    GOSSIP_ROBUST_KRUM
} gossip_robust_t;

/* A peer that lies in what it publishes, for tests and studies (node/attack.h). Its own mixing goes
 * on from the truth. Both are called within gossip_step, by whatever thread steps. */
typedef struct {
    void *user;
    /* The models (count) of table.floats that `exchange` mixed, oneself's true one among them. */
    void (*heard)(void *user, uint32_t exchange, const float *const *models, size_t count);
    /* in-out values (table.floats): the true model of `exchange`; what it leaves is published, NaN
     * and all. */
    void (*publish)(void *user, uint32_t exchange, float *values);
} gossip_tamper_t;
/* How training exchanges mix. Consensus exchanges mix by the weights W (gossip/mix.h) under all of
 * them, by the robust rule where there is one. */
typedef enum { GOSSIP_DPSGD, GOSSIP_PUSH_SUM, GOSSIP_ASYNC } gossip_scheme_t;

/* How models travel in training exchanges (gossip/codec.h); consensus exchanges are always fp32. */
typedef enum {
    GOSSIP_CODEC_FP32,
    GOSSIP_CODEC_FP16,
    GOSSIP_CODEC_BF16,
    GOSSIP_CODEC_INT8,
    GOSSIP_CODEC_TOPK,
    GOSSIP_CODEC_RANDOMK
} gossip_codec_kind_t;

typedef struct {
    gossip_codec_kind_t kind;
    double keep;   /* TOPK, RANDOMK: part of the weights that travels, in (0, 1] */
    uint64_t seed; /* RANDOMK: of the positions */
} gossip_codec_t;

/* One section of the federation hash: what all members must agree on. The hash of all sections is
 * the federation's identity; the short digests say which section differs. */
typedef struct {
    char name[16]; /* "model", "classes", "seed", "topology", ... */
    uint8_t digest[8];
} gossip_section_t;

typedef struct {
    gossip_section_t sections[GOSSIP_SECTIONS_MAX];
    size_t section_count;
    const char *const *names; /* (peers) in configuration order, unique; not owned */
    size_t peers;
    size_t self;                /* my index */
    const uint32_t *neighbours; /* (neighbour_count) indices, ascending, without self; not owned */
    size_t neighbour_count;
    size_t diameter;            /* of the configured graph */
    size_t degree_max;          /* of it, the same at all peers; for PUSH_SUM and gamma 0 */
    gossip_topology_t topology; /* a drawn rule (gossip_topology_drawn): the neighbours are then all
                                 * others; a static one is not looked at */
    gossip_table_t table;
    gossip_weighting_t weighting;
    gossip_robust_t robust;
    uint32_t hostile;              /* f of the robust rule */
    double clip;                   /* tau of clipped; 0: adaptive */
    const gossip_tamper_t *tamper; /* NULL: an honest peer; not owned */
    gossip_scheme_t scheme;        /* members must agree on it: a section */
    gossip_codec_t codec;          /* members must agree on it: a section, as on the next two */
    bool choco; /* what travels are differences (gossip/replica.h), as with a sparse codec always */
    double gamma;         /* step of mixing with differences, in (0, 1]; 0: gossip_codec_gamma */
    uint64_t samples;     /* n_i >= 1 */
    uint64_t incarnation; /* rises with every start of this peer: wall-clock milliseconds */
    uint32_t staleness;   /* of ASYNC: rounds of training by which a model may be behind mine */
    uint32_t rounds;      /* training rounds; under ASYNC members must agree on it */
    uint32_t first_round; /* 1, or the round after the checkpoint that is resumed */
    bool rejoin;          /* take the state of the neighbours before training */
    gossip_deadline_t deadline;
    int64_t deadline_floor_ms, deadline_ceiling_ms; /* ADAPTIVE; FIXED uses the ceiling */
    double deadline_k;                              /* median + k MAD */
    int64_t announce_ms;         /* how often control announcements go out without a change; 1000 */
    int64_t suspect_ms, dead_ms; /* silence: 4,000 and 24,000 on a LAN. Shorter notices a crash
                                  * sooner and drops a peer on a stalled machine sooner */
    int64_t start_wait_ms;       /* how long a peer never heard of is waited for; < 0 for ever */
    double consensus_distance;   /* 1e-4 */
    /* Training ends early, at all peers after the same exchange, when for stop_patience exchanges
     * in a row the certified distance was known and at most stop_distance, and the lowest accuracy
     * of a peer at least stop_accuracy. 0: not asked for; both 0: never. */
    double stop_distance, stop_accuracy;
    uint32_t stop_patience; /* >= 1 where one of them is above 0 */
    uint32_t consensus_rounds_max;
    uint32_t stages; /* of records behind the consensus, 0 .. GOSSIP_STAGES_MAX; members must agree
                      * on it: a section */
} gossip_config_t;

/* -- Events: what happens to a peer -- */

typedef enum {
    GOSSIP_CONTROL,      /* publish: announcement to all who listen */
    GOSSIP_DATA,         /* publish: a chunk of a model, to all who listen or (graphs drawn anew
                          * each exchange) to one peer */
    GOSSIP_REPAIR_ASK,   /* to one peer: please send these chunks */
    GOSSIP_REPAIR_ANSWER /* to one peer: a chunk, or "gone, newest is r" */
} gossip_channel_t;

typedef enum {
    GOSSIP_EV_START,      /* once, with values = the first state (drawn, init or checkpoint) */
    GOSSIP_EV_TICK,       /* a time asked for by WAKE has come (or any other moment) */
    GOSSIP_EV_FRAME,      /* bytes from a peer: nothing in them is trusted */
    GOSSIP_EV_MODEL,      /* from the node: its trained model of `round` */
    GOSSIP_EV_STATISTICS, /* from the node: its estimate on the adopted weights, as a record */
    GOSSIP_EV_MERGED, /* from the node of the lowest live peer: whole state, statistics merged */
    GOSSIP_EV_RECORD, /* from the node: its record of stage `round`; one of more than
                       * GOSSIP_RECORD_BYTES - 32 bytes counts as empty */
    GOSSIP_EV_END_TRAINING, /* from the node: time limit; the round in work is its last */
    GOSSIP_EV_LEAVE         /* from the node: say goodbye, then FINISHED */
} gossip_event_kind_t;

typedef struct {
    gossip_event_kind_t kind;
    int64_t now_ms;       /* never falls */
    uint32_t round;       /* MODEL, RECORD */
    const float *values;  /* START, MODEL, MERGED: (table.floats), copied */
    double accuracy;      /* MODEL: of it on the peer's own test part, [0, 1]; 0: not measured */
    const uint8_t *bytes; /* FRAME, STATISTICS, RECORD: copied if kept */
    size_t size;
    size_t from;              /* FRAME: the peer whose socket it came from */
    gossip_channel_t channel; /* FRAME */
} gossip_event_t;

/* -- Actions: what a peer wants done -- */

typedef enum {
    GOSSIP_ACT_SEND,    /* bytes to a channel (to peer `to` for REPAIR_*) */
    GOSSIP_ACT_WAKE,    /* TICK me at `at_ms`, the latest WAKE counts */
    GOSSIP_ACT_TRAIN,   /* to the node: train `round` from `values`, then MODEL. `report` is of the
                         * exchange before (round-1; all zero ahead of the first) */
    GOSSIP_ACT_TRAINED, /* to the node: training is over, `report` is of the last training exchange,
                         * `values` its mixed model; nothing is expected in return */
    GOSSIP_ACT_ESTIMATE,  /* to the node: estimate BatchNorm statistics on `values`, then STATISTICS
                           */
    GOSSIP_ACT_MERGE,     /* to the node: merge `records` in their order, apply, then MERGED */
    GOSSIP_ACT_CONSENSUS, /* to the node: `values` is the consensus, `digest` its digest, `report`
                           */
    GOSSIP_ACT_STAGE,     /* to the node: `records` are those of stage `round` - 1, the same at all
                           * peers, none for stage 1: make the record of stage `round` of them, then
                           * RECORD. `round` = stages + 1: the last ones, nothing is expected */
    GOSSIP_ACT_LOST,     /* to the node: I came back as the others ended, and they are gone before I
                          * had what they ended with; FINISHED follows */
    GOSSIP_ACT_FINISHED, /* to the node: all live peers are done, nothing more will come */
    GOSSIP_ACT_NOTE      /* to the log and the screen: `note` about peer `peer` */
} gossip_action_kind_t;

typedef enum {
    GOSSIP_NOTE_SEEN,    /* first heard of */
    GOSSIP_NOTE_SUSPECT, /* silent for suspect_ms */
    GOSSIP_NOTE_DEAD,    /* agreed dead: leaves the graph */
    GOSSIP_NOTE_BACK,    /* heard again, or a new incarnation */
    GOSSIP_NOTE_LEFT,    /* said goodbye */
    GOSSIP_NOTE_LATE,    /* its model missed the deadline of `round`: its weight went to oneself */
    GOSSIP_NOTE_REFUSED, /* another federation: `text` names the sections that differ */
    GOSSIP_NOTE_CAUGHT_UP, /* took the state of `peer` at `round`, or skipped to it */
    GOSSIP_NOTE_UNSOUND,   /* its model of `round` was refused: NaN, Inf or damage; as if late */
    GOSSIP_NOTE_PROBATION, /* under clipped gossip: left out from `round` on, for a time */
    GOSSIP_NOTE_FAR,       /* under a robust rule, where all hear all: the consensus that it gave is
                            * farther from my own model than an honest peer's: it may be hostile */
    GOSSIP_NOTE_PHASE      /* `text` says what begins: "consensus", "adopt", "records", "serve" */
} gossip_note_t;

typedef struct {
    uint32_t exchange;       /* its number; 0 when none was yet */
    uint32_t heard, missing; /* neighbours whose models were there, and not */
    uint32_t cut;            /* of those heard: clipped, on probation, or not chosen by krum */
    double distance;         /* largest ||x_i - x_j|| / ||x_i|| over the heard neighbours, weights
                              * only (no statistics), ahead of mixing */
    double bound;            /* the certificate: an upper bound of the largest distance of a peer
                              * to the mean, weighted by n, of all that took part in exchange
                              * bound_exchange; of the models as they were given to it, weights
                              * only, relative to the largest norm among them; < 0 unknown */
    uint32_t bound_exchange; /* 0: none is complete yet */
    bool stopped;            /* gossip.stop has ended the training */
    int64_t wait_ms;         /* from MODEL to the mix */
    uint32_t live;           /* peers of the present set, myself included; 0 unknown */
    uint32_t drifted;        /* times a model was missing at one end only, as far as known */
} gossip_report_t;

typedef struct {
    size_t peer;
    const uint8_t *bytes;
    size_t size;
} gossip_record_t;

#define GOSSIP_TO_ALL SIZE_MAX

typedef struct {
    gossip_action_kind_t kind;
    gossip_channel_t channel; /* SEND */
    size_t to;                /* SEND on REPAIR_*; on DATA, GOSSIP_TO_ALL or one peer */
    uint8_t *bytes;           /* SEND: owned by the action list */
    size_t size;
    int64_t at_ms;          /* WAKE */
    uint32_t round;         /* TRAIN, ESTIMATE, CONSENSUS, STAGE, NOTE */
    const float *values;    /* TRAIN, TRAINED, ESTIMATE, CONSENSUS: owned by the state, good until
                             * the event that answers it */
    gossip_report_t report; /* TRAIN, TRAINED, CONSENSUS */
    double step_s; /* to the node: seconds that the step which made it took, mixing included; filled
                    * in by the transport */
    hash_t digest; /* CONSENSUS: SHA-256 of the float buffer */
    const gossip_record_t *records; /* MERGE, STAGE: (record_count), in peer order, owned by the
                                     * state */
    size_t record_count;
    gossip_note_t note; /* NOTE */
    size_t peer;        /* NOTE */
    char text[160];     /* NOTE: for people */
} gossip_action_t;

typedef struct {
    gossip_action_t *items;
    size_t count, capacity;
} gossip_actions_t;

/* Frees what the actions own and empties the list (its memory is kept for the next step). */
void gossip_actions_clear(gossip_actions_t *actions);
void gossip_actions_free(gossip_actions_t *actions);

/* -- The state -- */

typedef struct gossip_s gossip_t;

/* Copies what it needs of `config`. ERR_CONFIG, ERR_MEMORY. */
err_t gossip_new(gossip_t **gossip, const gossip_config_t *config);
void gossip_destroy(gossip_t **gossip);

/* Appends to `actions`. Never fails: bad frames raise counters. */
void gossip_step(gossip_t *gossip, const gossip_event_t *event, gossip_actions_t *actions);

/* -- Looking in, for screens, logs and tests -- */

typedef enum {
    GOSSIP_UNSEEN,
    GOSSIP_ALIVE,
    GOSSIP_SUSPECTED,
    GOSSIP_DEAD,
    GOSSIP_GONE
} gossip_life_t;

typedef struct {
    uint32_t exchange;       /* in work */
    bool waiting;            /* for models of this exchange */
    const char *phase;       /* "train", "exchange", "consensus", "adopt", "records", "serve",
                              * "finished" */
    size_t waited_for[8];    /* the first neighbours that are waited for */
    size_t waited_for_count; /* all of them */
} gossip_status_t;
void gossip_status(const gossip_t *gossip, gossip_status_t *status);
gossip_life_t gossip_life(const gossip_t *gossip, size_t peer);
/* Bytes of a peer's model on the wire, without the chunks' headers, in a training exchange or in
 * one behind training. */
uint64_t gossip_model_bytes(const gossip_t *gossip, bool training);

typedef enum {
    GOSSIP_COUNT_FRAMES_IN,
    GOSSIP_COUNT_FRAMES_BAD,     /* not decodable, or a field out of bounds */
    GOSSIP_COUNT_FRAMES_FOREIGN, /* another federation, unknown sender, wrong author */
    GOSSIP_COUNT_CHUNKS_IN,
    GOSSIP_COUNT_CHUNKS_DUPLICATE,
    GOSSIP_COUNT_CHUNKS_STALE,   /* outside the window of rounds */
    GOSSIP_COUNT_MODELS_REFUSED, /* NaN, Inf, or a wrong digest: the whole model */
    GOSSIP_COUNT_REPAIRS_ASKED,
    GOSSIP_COUNT_REPAIRS_SERVED,
    GOSSIP_COUNT_REPAIRS_GONE,
    GOSSIP_COUNT_MISSING, /* models that missed a deadline */
    GOSSIP_COUNTERS
} gossip_counter_t;
uint64_t gossip_counter(const gossip_t *gossip, gossip_counter_t counter);
const char *gossip_counter_name(gossip_counter_t counter);
