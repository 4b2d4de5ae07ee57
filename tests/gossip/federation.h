/* tests/gossip/federation.h: a whole federation in the simulator with fake training: a
 * deterministic perturbation of the values by (peer, round). */
#pragma once
#include "base/rng.h"
#include "gossip/sim.h"
#include "gossip/topology.h"

enum { FEDERATION_PEERS = 72, FEDERATION_USUAL = 16, FEDERATION_HISTORY = 256 };

typedef struct {
    /* set ahead of federation_init by the test, or left 0 for the default */
    size_t peers;
    gossip_topology_kind_t topology;
    const gossip_edge_t *edges;
    size_t edge_count;
    size_t degree; /* of regular and epidemic */
    double edge_probability;
    bool redraw, local;
    size_t weights, channels; /* floats of weights; of mean and of variance each */
    uint32_t rounds;
    gossip_scheme_t scheme;
    uint32_t staleness;
    gossip_deadline_t deadline;
    gossip_sim_options_t net;
    uint64_t samples[FEDERATION_PEERS]; /* 0: 100 */
    int64_t train_ms[FEDERATION_PEERS]; /* 0: 200 */
    gossip_codec_t codec;
    bool choco;
    double gamma;
    const float *moves;     /* [round - 1][peer](floats) what training adds; NULL: a draw */
    size_t rows;            /* of the weights; 0: 1 */
    double step;            /* size of the perturbation; < 0: training changes nothing */
    double distance;        /* of the consensus; 0: 1e-4 */
    uint32_t consensus_max; /* 0: 200 */
    int64_t start_wait_ms;  /* 0: 30 s */
    uint32_t stages;        /* of records behind the consensus */
    size_t record_bytes;    /* of each of them; 0: 16 */
    int64_t record_ms[FEDERATION_PEERS]; /* how long a peer makes each; 0: 20 */
    uint8_t padding[FEDERATION_PEERS];   /* what a peer's records are filled up with */

    /* what came of it */
    gossip_topology_t rule;
    gossip_graph_t graph; /* of links: full for drawn rules */
    gossip_segment_t segments[3];
    char names[FEDERATION_PEERS][24];
    const char *name_list[FEDERATION_PEERS];
    gossip_config_t config[FEDERATION_PEERS];
    gossip_sim_t *sim;
    float *start;                       /* (floats) the first state of all */
    float *consensus[FEDERATION_PEERS]; /* (floats) */
    hash_t digest[FEDERATION_PEERS];
    gossip_report_t report[FEDERATION_PEERS];
    bool done[FEDERATION_PEERS], finished[FEDERATION_PEERS];
    bool lost[FEDERATION_PEERS]; /* the others ended without it, and it could not get what they have
                                  */
    float *trained[FEDERATION_PEERS];  /* (floats) mixed model of the last training exchange */
    float *estimate[FEDERATION_PEERS]; /* (floats) last adopted values */
    float **history[FEDERATION_PEERS]; /* [round](floats) values that TRAIN began with */
    uint32_t rounds_trained[FEDERATION_PEERS];
    size_t merged;                                           /* records in the last MERGE */
    unsigned notes[FEDERATION_PEERS][GOSSIP_NOTE_PHASE + 1]; /* by the peer noting */
    unsigned about[FEDERATION_PEERS][GOSSIP_NOTE_PHASE + 1]; /* by the peer noted */
    /* [peer][stage - 1] what STAGE(stage + 1) handed it: who, as a bit set, and a digest of it all
     */
    unsigned staged_of[FEDERATION_PEERS][GOSSIP_STAGES_MAX];
    hash_t staged[FEDERATION_PEERS][GOSSIP_STAGES_MAX];
    char refused[160];
} federation_t;

void federation_init(federation_t *f);
void federation_free(federation_t *f);
/* Starts all peers at 0. */
void federation_start(federation_t *f);
/* Starts one, with a new incarnation of at_ms + 1. */
void federation_start_peer(federation_t *f, size_t peer, int64_t at_ms, bool rejoin);
size_t federation_floats(const federation_t *f);
/* The node of every peer; a test may wrap it. */
gossip_sim_node_fn federation_node;
/* Runs these settings to the end of all, without loss and with a fifth of the frames lost, and
 * asserts one consensus in both, to the bit, and in the second more than `asked` repairs. */
void federation_assert_loss_bears(const federation_t *settings, uint64_t asked);

/* Faults at random moments: one of six crashes, may be back, one sleeps. */
typedef struct {
    int64_t from_ms, span_ms; /* crash and pause begin at from + [0, span) */
    int64_t back_ms;          /* who comes back does so 500 + [0, back) ms after */
} federation_faults_t;
/* Runs these settings (6 peers) with such faults: whoever did not crash for good ends, with one
 * consensus and the same records. */
void federation_assert_faults_bear(const federation_t *settings, const federation_faults_t *faults,
                                   rng_t *rng);
/* Asserts that all peers but those in `except` (a bit set) are done with one digest, and were
 * handed the same records at the end of every stage. */
void federation_assert_one(const federation_t *f, unsigned except);
