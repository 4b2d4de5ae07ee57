/* gossip/state.h: what a peer knows, internal to gossip/. The order of reading: state.h, step.c,
 * exchange.c, exchange_mix.c, consensus.c, adopt.c, stages.c, then the rest. docs/protocol.md says
 * why. */
#pragma once
#include <float.h>

#include "gossip/algorithm.h"
#include "gossip/gossip.h"
#include "gossip/mix.h"
#include "gossip/sketch.h"
#include "gossip/wire.h"

enum {
    /* Payload of a chunk: with a certificate of CERTIFICATE_BYTES at most a frame stays below
     * GOSSIP_CHUNK_BYTES + 4 KiB. A multiple of 4. */
    CHUNK_BYTES = 192 * 1024,
    CERTIFICATE_BYTES = 60 * 1024,
    SKETCH_PEERS_MAX = GOSSIP_CERTIFIED_PEERS, /* beyond, sketches are too many to carry */
    REPAIR_MS = 1000,                          /* no progress for so long: ask (again) */
    PIN_MS = 10000,           /* a STATE that is being fetched stays as it is for so long */
    ANNOUNCE_MIN_MS = 50,     /* between two announcements */
    FIRST_EXCHANGES = 3,      /* at the ceiling's deadline */
    NEEDS = 16,               /* exchanges of a neighbour whose duration is remembered */
    DRAWN_MEET_FULL = 64,     /* peers up to which all meet all in consensus exchanges */
    LINGER_ANNOUNCEMENTS = 3, /* sent after all are done, ahead of FINISHED */
    RECORDS_BYTES_MAX = 512 * 1024 * 1024, /* all records together, and 4 states (ADOPT, FINAL) */
};

/* An object that is being put together from chunks, or one that is whole. */
typedef struct {
    wire_object_t id;
    hash_t digest;
    uint64_t size;
    uint32_t count, have; /* chunks */
    uint8_t *got;         /* (capacity_chunks) */
    hash_t *parts;        /* (capacity_chunks) */
    uint8_t *data;        /* (capacity bytes) */
    size_t capacity_chunks, capacity;
    bool open;            /* id, digest, size are set */
    bool whole;           /* all here, digest right */
    bool refused;         /* bad values: not taken again under this digest */
    bool floats;          /* every element is checked as state at its place */
    size_t source;        /* whom to ask */
    int64_t progress_ms;  /* last chunk or ask */
    uint32_t outstanding; /* chunks asked for and not here */
    uint32_t asks;        /* in a row without progress */
    bool pulled;          /* was asked for: go on asking as answers come */
} assembly_t;

/* A neighbour. */
typedef struct {
    size_t peer;
    char name[GOSSIP_NAME_MAX];
    bool announced;       /* `said` holds something of this incarnation */
    uint8_t *present;     /* (bitset) of its decision: said.present points here */
    wire_announce_t said; /* its views are not kept */
    assembly_t slot[2];   /* models of exchange e at [e & 1] */
    uint64_t samples[2], reach[2];
    bool trained[2];
    uint32_t age[2];                   /* under ASYNC */
    uint64_t taken, taken_incarnation; /* ASYNC: number of its model that was mixed last, or left
                                        * out as too old */
    double residual[2];                /* how far its model is from what came of it, as it says */
    int64_t arrived_ms[2];
    bool in_graph;        /* counts in the exchange that I published last */
    uint64_t counted;     /* its n in the S that I published last, unless on probation */
    bool probation;       /* in_graph, but its model is only looked at */
    uint32_t owed;        /* near models in a row until it counts again; 0: it counts */
    uint32_t offence;     /* how many it owes after an offence; 0: none yet */
    double radii;         /* how far away that was; 0: it was refused */
    bool told;            /* the node knows of its probation */
    bool lost;            /* its model of the exchange in work cannot come any more */
    int64_t announced_ms; /* last announcement */
    uint64_t refused_incarnation;
    bool missed_last;     /* its model of the last exchange was not mixed */
    uint32_t compared;    /* exchange whose header told what it had missed */
    int64_t needs[NEEDS]; /* ms from the beginning of an exchange to its model */
    size_t need_count;
} link_t;

/* What is known of any peer, neighbour or not. */
typedef struct {
    wire_status_t status;
    int64_t heard_ms; /* last sign of life, direct or by its beat */
    bool heard;       /* ever */
    bool suspected;
} member_t;

typedef struct {
    assembly_t assembly;
    uint64_t memory;
} record_t;

/* Certificate of one exchange, merged from all peers. */
enum {
    CERT_TRAINED = 1,
    CERT_MISSING = 2,
    CERT_DISPUTED = 4, /* two sketches of one peer's model were heard of: none counts */
    CERT_CUT = 8,      /* a neighbour was dead: those present may be in parts that no edge joins */
    CERT_FLAGS = CERT_TRAINED | CERT_MISSING | CERT_DISPUTED | CERT_CUT
};
typedef struct {
    gossip_sketch_t sketch;
    bool here;
    bool fresh; /* not passed on yet */
} certificate_word_t;
typedef struct {
    uint32_t exchange; /* 0: empty */
    double edge;
    double accuracy; /* lowest that a peer has told of */
    uint8_t flags;
    uint8_t *present;          /* (bitset) */
    certificate_word_t *words; /* (peers); NULL for more than SKETCH_PEERS_MAX */
} certificate_t;

/* My row of a drawn graph. */
typedef struct {
    uint32_t exchange;  /* 0: none yet */
    uint8_t *to, *from; /* (bitset) whom I send to, whom I hear */
} drawn_t;

typedef enum {
    PHASE_JOIN,     /* rejoin: wants the neighbours' state first */
    PHASE_TRAIN,    /* the node trains `exchange` */
    PHASE_PUBLISH,  /* the model is there; a neighbour never heard of is waited for */
    PHASE_EXCHANGE, /* published; models are awaited */
    PHASE_ADOPT,
    PHASE_STAGE, /* has the consensus; records of `stage` are made and awaited */
    PHASE_SERVE,
    PHASE_FINISHED
} phase_t;

typedef struct pushsum_s pushsum_t;
typedef struct replicas_s replicas_t;

struct gossip_s {
    /* configuration */
    gossip_config_t config;
    gossip_segment_t *segments;
    char name[GOSSIP_NAME_MAX]; /* mine */
    hash_t federation;
    size_t bitset; /* bytes of a set of peers */
    size_t bytes;  /* of the float buffer */

    /* time */
    int64_t now, started_ms, announced_ms;
    bool announce_due;
    gossip_actions_t *out;
    bool started;

    /* who */
    member_t *members; /* (peers): what a peer takes most of where there are many; look at all of
                        * them only when something may have come of it */
    size_t absent;     /* of the others, dead or gone */
    int64_t liveness_due_ms; /* nobody's silence is too long before */
    link_t *links;           /* (neighbour_count), ascending */
    size_t link_count;
    bool drawn;                     /* each training exchange has a graph of its own ... */
    drawn_t graphs[2];              /* ... that of e at [e & 1] */
    uint8_t *meets;                 /* (bitset) drawn: neighbours in consensus exchanges */
    link_t pool;                    /* drawn: `needs` of the last models, whoever they came from */
    size_t status_turn, offer_turn; /* where the next announcement's lists begin */

    /* the exchange in work */
    phase_t phase;
    uint32_t exchange;
    uint32_t last_training;
    bool over_told, consensus_told, busy; /* busy: the node trains a round for us */
    bool publish_trained;
    float *mixed; /* newest mixed state, of exchange mixed_exchange */
    uint32_t mixed_exchange;
    uint32_t joined; /* first exchange that I took part in without a break */
    float *own[2];   /* own model of exchange e at [e & 1], as published */
    float *truth;    /* with config.tamper: the own model of the exchange in work as it is */
    float *part;     /* ASYNC: my own part of a mix */
    uint32_t own_exchange[2];
    hash_t own_digest[2];
    hash_t *own_parts[2];
    bool own_trained[2];
    uint64_t own_reach[2];
    bool coded;            /* training exchanges are coded */
    uint64_t coded_bytes;  /* size of every coded model */
    uint8_t *own_coded[2]; /* (coded_bytes) own model of exchange e as it travels */
    float *own_decoded;    /* (floats) what the others make of own[e & 1] */
    replicas_t *replicas;  /* owned; differences travel, NULL: models do */
    double gamma;          /* of training exchanges with a codec */
    float *coded_scratch;  /* as large as a slot: what came is decoded into it */
    uint8_t *own_head[2];  /* certificate as sent with it: kept so that repair sends the same */
    size_t own_entries[2];
    uint64_t own_first[2];
    size_t own_sketches[2]; /* behind the entries in own_head */
    double own_accuracy[2];
    uint8_t *missed;     /* bitset: whose models of mixed_exchange were missing */
    pushsum_t *pushsum;  /* owned; NULL: another algorithm */
    uint32_t age;        /* of `mixed` under ASYNC, else 0 */
    uint32_t own_age[2]; /* of own[e & 1] */
    uint32_t state_age;  /* of the STATE coming in */
    uint32_t pinned_age; /* and going out */
    uint64_t samples, reach;
    int64_t published_ms, deadline_ms, publish_wait_ms;
    int64_t began_ms; /* the exchange in work: when the one before was mixed */
    uint32_t mixes;
    double near_most; /* how far neighbours' models were at the last mix, relative to mine, without
                       * the config.hostile farthest */
    gossip_report_t report;

    /* catching up */
    bool catching;    /* wants the STATE of state.source */
    assembly_t state; /* coming in */
    float *pinned;    /* going out */
    uint32_t pinned_exchange;
    hash_t pinned_digest;
    hash_t *pinned_parts;
    int64_t pinned_ms;

    /* certificates */
    certificate_t *certificates; /* (certificate_count), exchange e at [e % count] */
    size_t certificate_count;
    uint32_t stop_at, stop_streak; /* last exchange that met gossip.stop, how many in a row */

    /* the end */
    uint32_t decided;
    double bound;
    uint8_t *present; /* of the decision; a bit once cleared stays so */
    record_t *records;
    size_t record_count, record_capacity; /* in order of kind and origin */
    bool records_quiet;                   /* all are whole or refused */
    uint64_t records_bytes;
    bool have_adopted;
    hash_t adopted; /* digest of the adopt record that `adopt_values` is */
    float *adopt_values;
    uint32_t estimates_out, merges_out; /* at the node */
    int64_t
        stalled_ms; /* when a stall of mine ended that others may have taken for death; 0 never */
    bool estimated, merging;
    uint32_t statistics_version;
    int64_t estimated_ms;
    gossip_record_t *merge_records;
    size_t merge_count;
    float *consensus;
    hash_t consensus_digest;
    uint32_t linger;
    bool all_done;

    /* records behind the consensus */
    uint32_t stage;       /* in work, from 1 */
    hash_t stage_context; /* what its records are about */
    bool stage_given;     /* the node has given mine */
    int64_t stage_given_ms;
    uint32_t stage_out; /* at the node */
    uint32_t stage_version;
    gossip_record_t *stage_records; /* (peers) what was handed to the node last */

    uint64_t counters[GOSSIP_COUNTERS];
};

/* -- small things (state.c, actions.c) -- */
static inline bool bit_get(const uint8_t *set, size_t i)
{
    return set[i / 8] >> (i % 8) & 1;
}
static inline void bit_set(uint8_t *set, size_t i)
{
    set[i / 8] = (uint8_t)(set[i / 8] | 1u << (i % 8));
}
static inline void bit_clear(uint8_t *set, size_t i)
{
    set[i / 8] = (uint8_t)(set[i / 8] & ~(1u << (i % 8)));
}
link_t *link_of(gossip_t *g, size_t peer); /* NULL when it is no neighbour */
/* Neither dead nor gone. */
bool is_live(const gossip_t *g, size_t peer);
void count(gossip_t *g, gossip_counter_t counter);
/* What a peer may say that it has. */
bool samples_ok(const gossip_t *g, uint64_t samples);
/* Digest over all that a frame may change but counters and time: for tests. */
hash_t gossip_state_digest(const gossip_t *g);

gossip_action_t *act(gossip_t *g, gossip_action_kind_t kind);
void act_send(gossip_t *g, gossip_channel_t channel, size_t to, uint8_t *bytes, size_t size);
void act_note(gossip_t *g, gossip_note_t note, size_t peer, uint32_t round, const char *text);

/* -- object.c: chunks -- */
typedef enum { CHUNK_NEW, CHUNK_WHOLE, CHUNK_DUPLICATE, CHUNK_BAD, CHUNK_REFUSED } chunk_result_t;
uint32_t object_chunks(uint64_t size);
uint32_t object_chunk_size(uint64_t size, uint32_t index);
/* Fills parts (chunks) and returns the object's digest. */
hash_t object_digest(hash_t *parts, const void *data, uint64_t size);
bool assembly_init(assembly_t *assembly, uint64_t size, bool floats);
void assembly_free(assembly_t *assembly);
void assembly_open(assembly_t *assembly, const wire_object_t *id, const hash_t *digest,
                   uint64_t size);
chunk_result_t assembly_add(gossip_t *g, assembly_t *assembly, const wire_chunk_t *chunk);
bool object_equal(const wire_object_t *a, const wire_object_t *b);

/* -- announce.c -- */
void announce_send(gossip_t *g, bool goodbye);
void announce_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size);
bool announce_advance(gossip_t *g);
/* The exchange that I publish next, 0 while I take no part. */
uint32_t next_publish(const gossip_t *g);

/* -- liveness.c -- */
/* A frame from `from` with its own incarnation; false: an older one, drop the frame. */
bool liveness_frame(gossip_t *g, size_t from, uint64_t incarnation);
void liveness_merge(gossip_t *g, const wire_status_t *heard);
bool liveness_advance(gossip_t *g);

/* -- exchange.c -- */
void exchange_begin(gossip_t *g); /* trains or publishes g->exchange from g->mixed */
void exchange_model(gossip_t *g, const gossip_event_t *event);
void exchange_end_training(gossip_t *g, uint32_t last);
void exchange_chunk(gossip_t *g, size_t from, const wire_chunk_t *chunk);
bool exchange_advance(gossip_t *g);
/* Out of what is at hand: g->mixed and the report. */
void exchange_mix(gossip_t *g);
/* A model of `exchange`, or a part of it, came over this link. */
bool link_has(const link_t *link, uint32_t exchange);
/* TRAINED, once: the mixed state of the last training exchange, as it stays throughout this step.
 */
void exchange_over(gossip_t *g, uint32_t exchange, const float *values);
/* Whether a link's model of `exchange` is awaited still. */
bool exchange_waits(const gossip_t *g, const link_t *link);

/* -- probation.c: whom clipped gossip leaves out for a time -- */
/* Who of those in my graph is on probation in the exchange that I publish. */
void probation_publish(gossip_t *g);
/* Of the models of a mix: `links` (count; NULL for self), their `distances` (count) from mine. */
void probation_judge(gossip_t *g, const gossip_mixing_t *mixing, link_t *const *links,
                     const double *distances);

/* -- coded.c: models as they travel, codec or not -- */
/* Size of a model on the wire; trained: of a training exchange. */
uint64_t coded_size(const gossip_t *g, bool trained);
/* Size of own[at] on the wire. */
uint64_t coded_own_size(const gossip_t *g, uint32_t at);
/* MODEL or REPLICA. */
wire_type_t coded_own_type(const gossip_t *g, uint32_t at);
/* Room for any model or difference. */
uint64_t coded_room(const gossip_t *g);
/* Whether a model may have this many chunks; the fewest that it may have. */
bool coded_chunks_ok(const gossip_t *g, uint64_t chunks);
uint32_t coded_chunks_least(const gossip_t *g);
/* Makes the object of own[at] of exchange e. */
void coded_publish(gossip_t *g, uint32_t exchange);
/* The object of own[at] as it travels. */
const uint8_t *coded_own(const gossip_t *g, uint32_t at);
/* What the others mix of my own[at]. */
const float *coded_part(const gossip_t *g, uint32_t at);
/* A whole slot's bytes become floats; false: they are not what the codec writes. */
bool coded_take(gossip_t *g, link_t *link, uint32_t at);
/* What is mixed of a neighbour's model. */
const float *coded_part_of(const gossip_t *g, const link_t *link, uint32_t at);
/* Parts of a mix as far as I go towards them: where differences travel, and I train no more, gamma
 * of the way to the x^ of one that still does, for it comes gamma of the way to me. Statistics
 * stay. Overwrites the parts of those peers with what their slots have room for. */
void coded_meet(gossip_t *g, gossip_part_t *parts, size_t count);
/* own_coded[exchange & 1] = x, written, and own_decoded = what all make of it. False when x is no
 * model. */
bool coded_write(gossip_t *g, uint32_t exchange, const float *x);
/* My own[at] as it is, whatever a tamper made others hear of it. */
const float *coded_truth(const gossip_t *g, uint32_t at);
/* A sum as float32: where it leaves the range, the largest number there is stands in for it. No NaN
 * comes here, and without calls of fmin loops of it vectorise. */
static inline float saturated(double value)
{
    value = value > (double)FLT_MAX ? (double)FLT_MAX : value;
    return (float)(value < -(double)FLT_MAX ? -(double)FLT_MAX : value);
}
/* mixed = x + gamma (mixed - c) over the weights, x being my own model and c my part of the mix:
 * what the codec left out stays mine, and under ASYNC the round. Nothing where I did not train. */
void coded_keep(gossip_t *g, uint32_t at, const float *c);
/* The largest distance that a part's model may have from mine, relative to mine. */
double coded_distance(const gossip_t *g, uint32_t at, const float *values, double residual);

/* -- drawn.c: graphs drawn anew each exchange; on a static graph every link counts, always. A
 * training exchange (`trained`) has its own graph, consensus exchanges share one. -- */
/* The static rule that consensus exchanges go over: full for few peers, else exponential. */
gossip_topology_t drawn_meeting_rule(const gossip_topology_t *rule);
err_t drawn_init(gossip_t *g); /* ERR_CONFIG */
void drawn_free(gossip_t *g);
bool drawn_hears(gossip_t *g, size_t peer, uint32_t exchange, bool trained);
bool drawn_sends(gossip_t *g, size_t peer, uint32_t exchange, bool trained);
/* My models of such an exchange go to everybody. */
bool drawn_to_all(const gossip_t *g, bool trained);
/* Models of such an exchange weigh alike. */
bool drawn_equal(const gossip_t *g, bool trained);
/* Of what is missing at one end the other need know nothing: drift cannot be told. */
bool drawn_directed(const gossip_t *g);
/* Has not begun the exchange in work yet: I may not end it ahead of the deadline. */
bool drawn_holds(const gossip_t *g, const link_t *link);

/* -- deadline.c -- */
void deadline_observe(link_t *link, int64_t need_ms);
int64_t deadline_at(const gossip_t *g); /* of the exchange published now; INT64_MAX for none */

/* -- catchup.c -- */
bool catchup_advance(gossip_t *g);
void catchup_chunk(gossip_t *g, size_t from, const wire_chunk_t *chunk);

/* -- consensus.c -- */
certificate_t *certificate_at(gossip_t *g, uint32_t exchange); /* made if new; NULL if too old */
size_t certificate_pack(gossip_t *g, uint32_t exchange, uint8_t *bytes, uint64_t *first);
size_t certificate_bytes(const gossip_t *g); /* that the two packs write at most */
/* Checks what a chunk tells: sizes, bounds of all numbers, peers that exist. */
bool certificate_ok(const gossip_t *g, const wire_chunk_t *chunk);
void certificate_merge(gossip_t *g, const wire_chunk_t *chunk);
void certificate_mixed(gossip_t *g, uint32_t exchange, double edge, uint8_t flags,
                       const uint8_t *heard);

/* -- certify.c -- */
/* My model of `exchange`, which I publish now, and what I have heard of since the last one:
 * sketches into bytes; returns how many. */
size_t sketches_pack(gossip_t *g, uint32_t exchange, uint8_t *bytes);
bool sketches_ok(const gossip_t *g, const wire_chunk_t *chunk);
void sketches_merge(gossip_t *g, const wire_chunk_t *chunk);
/* An upper bound of the largest distance of a peer to the mean of all that took part in a complete
 * exchange, relative to the largest norm; < 0 unknown. */
double certified_distance(const gossip_t *g, const certificate_t *c, size_t reach);
/* gossip.stop: `c` is complete after the mix of `exchange`; ends the training or does not. */
void stop_advance(gossip_t *g, const certificate_t *c, uint32_t exchange);
size_t certificate_reach(const gossip_t *g); /* exchanges until a certificate is complete */
bool consensus_decide(gossip_t *g, uint32_t exchange);
void consensus_follow(gossip_t *g, const wire_announce_t *said);

/* -- adopt.c, records.c -- */
void adopt_begin(gossip_t *g);
bool adopt_advance(gossip_t *g);
void adopt_statistics(gossip_t *g, const uint8_t *bytes, size_t size);
void adopt_merged(gossip_t *g, const float *values);
size_t adopt_lowest(const gossip_t *g);
/* After a stall of mine that others may have taken for death they have to be heard ahead of a word
 * that is final. */
bool adopt_held(const gossip_t *g);
/* How long a live peer's record is waited for where there is a deadline, in ms. */
int64_t adopt_patience(const gossip_t *g);
/* Newest record of a kind and origin, NULL when there is none. */
record_t *record_find(gossip_t *g, wire_kind_t kind, size_t origin);
/* The record of that kind with the lowest origin from `origin` on, NULL when there is none. */
record_t *record_next(gossip_t *g, wire_kind_t kind, size_t origin);
void record_offer(gossip_t *g, size_t from, const wire_offer_t *offer);
void record_own(gossip_t *g, wire_kind_t kind, uint32_t version, const void *bytes, size_t size);
/* The same of a record that begins with the digest of what it is about; bytes that are too many are
 * the node's own mistake and count as none. */
void record_about(gossip_t *g, wire_kind_t kind, uint32_t version, const hash_t *context,
                  const uint8_t *bytes, size_t size);
void record_chunk(gossip_t *g, size_t from, const wire_chunk_t *chunk);

/* -- stages.c -- */
void stage_begin(gossip_t *g); /* the consensus is here */
bool stage_advance(gossip_t *g);
void stage_record(gossip_t *g, uint32_t stage, const uint8_t *bytes, size_t size);
/* For kinds from WIRE_STAGE_1 on. */
bool stage_size_ok(const gossip_t *g, uint64_t kind, uint64_t size);
/* A roll that is here lists this very record: it must not give way to another. */
bool stage_lists(const gossip_t *g, const wire_object_t *object, const hash_t *digest);

/* -- serve.c -- */
bool serve_advance(gossip_t *g);
/* I came too late to take part in the decision, and of those who did all are gone, done: what they
 * ended with nobody can give any more. */
bool serve_missed(const gossip_t *g);
void serve_lose(gossip_t *g); /* says so to the node; FINISHED */

/* -- repair.c -- */
void repair_ask_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size);
void data_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size);
void repair_answer_heard(gossip_t *g, size_t from, const uint8_t *bytes, size_t size);
void repair_advance(gossip_t *g);
void chunk_send(gossip_t *g, gossip_channel_t channel, size_t to, wire_chunk_t *chunk,
                const uint8_t *data, const hash_t *parts);
int64_t repair_wake(const gossip_t *g);
