/* node/simulation.h: a federation in one process on a virtual clock, the inside of `hearsay
 * simulate`. cmd_simulate.c is the command; simulation.c plans what happens to peers whatever they
 * are; simulation_peers.c are learners that train, simulation_study.c peers of random floats;
 * simulation_jobs.c trains several learners at once; simulation_report.c says what it cost. */
#pragma once
#include <pthread.h>

#include "gossip/sim.h"
#include "node/args.h"
#include "node/learner.h"
#include "node/report.h"

typedef struct simulation_s simulation_t;
typedef struct simulation_jobs_s simulation_jobs_t;
typedef struct simulation_study_s simulation_study_t;

typedef struct {
    simulation_t *simulation;
    size_t index;
    node_learner_t *learner; /* NULL: crashed, or a study */
    bool down;               /* crashed, and not back */
    node_line_t line;
} simulated_t;

/* What a peer costs, in bytes. */
typedef struct {
    size_t gossip, node; /* measured at the heap, mean over the peers */
} simulation_memory_t;

struct simulation_s {
    node_config_t config;
    node_setup_t setup;
    char *run;
    const char **names;
    simulated_t *peers;
    gossip_sim_t *sim;
    node_screen_t *screen;
    simulation_jobs_t *jobs;   /* NULL: everything in one thread */
    simulation_study_t *study; /* --no-train */
    FILE *trace;               /* --trace, NULL */
    node_engine_t engine;      /* of the thread that drives */
    int threads;
    pthread_t driver; /* the thread that runs the simulator */
    err_t failed;     /* first failure; its message is recorded */
    simulation_memory_t memory;
    double started_s, begun_s; /* real time: of the command, of the first step */
    double ended_s;
    double begun_cpu_s, ended_cpu_s; /* of all threads */
};

/* -- simulation.c -- */
/* Reads the configuration, with --set and --peers. */
err_t simulation_open(simulation_t *s, const node_args_t *args);
/* Makes the simulator, starts all peers and plans the events of the configuration. */
err_t simulation_start(simulation_t *s, gossip_sim_node_fn *node);
/* Reads a trace of this very configuration back and does every step again. */
err_t simulation_replay(simulation_t *s, const char *path);
/* Virtual time that training a round takes at a peer with so many pictures. */
int64_t simulation_round_ms(const simulation_t *s, uint64_t samples);
/* Remembers the first failure and ends the run. */
void simulation_fail(simulation_t *s, err_t err);
/* Peers that crash and do not come back. */
size_t simulation_lost(const simulation_t *s);

/* -- simulation_peers.c -- */
gossip_sim_node_fn simulation_peers_act;
err_t simulation_peers_make(simulation_t *s);
/* (Re)makes the learner of a peer, from its checkpoint when it rejoins. */
err_t simulation_peer_make(simulation_t *s, size_t peer, bool rejoin);
void simulation_peer_crash(simulation_t *s, size_t peer);
/* The peers' summaries and the run's. */
err_t simulation_peers_finish(simulation_t *s, bool was_interrupted);

/* -- simulation_jobs.c -- */
/* `threads` workers, each with an engine. ERR_MEMORY and what making an engine gives. */
err_t simulation_jobs_new(simulation_jobs_t **jobs, simulation_t *s);
void simulation_jobs_destroy(simulation_jobs_t **jobs);
/* The peer's learner has taken a round: trains it. */
void simulation_jobs_add(simulation_jobs_t *jobs, size_t peer);
/* Waits for what the peer's learner has in work; its values are kept for their time. */
void simulation_jobs_settle(simulation_jobs_t *jobs, size_t peer);
/* Forgets what the peer was to give: it crashed. */
void simulation_jobs_forget(simulation_jobs_t *jobs, size_t peer);
gossip_sim_collect_fn simulation_jobs_collect;

/* -- simulation_study.c: --no-train: models of random floats, and how fast they come together -- */
err_t simulation_study_open(simulation_t *s, size_t parameters);
gossip_sim_node_fn simulation_study_act;
const float *simulation_study_values(const simulation_study_t *study);
void simulation_study_free(simulation_study_t **study);
/* Distance of all peers to their mean at an exchange, relative to the one ahead of the first:
 * sqrt(sum n_i ||x_i - mean||^2 / the same ahead of the first); NAN: not all peers came to it. */
double simulation_study_distance(const simulation_study_t *study, uint32_t exchange);

/* -- simulation_report.c -- */
double simulation_cpu_s(void);
void simulation_report(const simulation_t *s, bool json, size_t finished);
