/* node/simulation_peers.c: simulated peers that train: the same learners as over the network. */
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/calibration.h"
#include "node/checkpoint.h"
#include "node/interrupt.h"
#include "node/simulation.h"

static void count_bytes(void *user, uint64_t *sent, uint64_t *received)
{
    simulated_t *peer = user;
    const gossip_sim_t *sim = peer->simulation->sim;
    *sent = sim ? gossip_sim_bytes(sim, peer->index) : 0;
    *received = sim ? gossip_sim_bytes_received(sim, peer->index) : 0;
}

/* A peer may be made slow (peers[].attack). */
static int64_t round_ms(const simulated_t *peer)
{
    const simulation_t *s = peer->simulation;
    int64_t ms = simulation_round_ms(s, node_learner_samples(peer->learner));
    return (int64_t)((double)ms * node_attack_slowness(&s->config.peers[peer->index].attack));
}

static void tell_time(void *user, double *now_s, double *round_s)
{
    simulated_t *peer = user;
    simulation_t *s = peer->simulation;
    *now_s = (double)gossip_sim_now_ms(s->sim) / 1e3;
    *round_s = (double)round_ms(peer) / 1e3;
}

/* Only from the thread that drives: what workers do is seen when it is done. */
static void on_progress(void *user, const node_progress_t *progress)
{
    simulated_t *peer = user;
    if (!peer->simulation->screen || !pthread_equal(pthread_self(), peer->simulation->driver))
        return;
    node_report_progress(&peer->line, progress);
    node_screen_update(peer->simulation->screen, peer->index, &peer->line);
    node_screen_draw(peer->simulation->screen);
}

/* Another round like the one that begins would end behind the time limit. The learner finds the
 * same when it has trained; here it is known ahead. */
static bool last_round(simulated_t *peer)
{
    double now_s, round_s, limit_s = peer->simulation->config.time_limit_s;
    tell_time(peer, &now_s, &round_s);
    return limit_s > 0 && now_s + 2 * round_s > limit_s;
}

bool simulation_peers_act(void *user, size_t index, const gossip_action_t *action,
                          gossip_event_t *answer, int64_t *busy_ms)
{
    simulation_t *s = user;
    bool answered = false, end_training = false;
    simulated_t *peer = &s->peers[index];
    if (s->failed || action->kind == GOSSIP_ACT_NOTE)
        return false;
    if (s->jobs)
        simulation_jobs_settle(s->jobs, index);
    node_learner_lend(peer->learner, &s->engine);
    bool later = s->jobs && action->kind == GOSSIP_ACT_TRAIN;
    err_t err = later ? node_learner_take(peer->learner, action)
                      : node_learner_act(peer->learner, action, answer, &answered, &end_training);
    node_learner_return(peer->learner);
    simulation_fail(s, err);
    if (s->failed)
        return false;
    if (later) {
        *answer = (gossip_event_t){.kind = GOSSIP_EV_MODEL, .round = action->round};
        simulation_jobs_add(s->jobs, index);
        answered = true;
    }
    if (action->kind == GOSSIP_ACT_TRAIN && last_round(peer))
        gossip_sim_give(s->sim, index, &(gossip_event_t){.kind = GOSSIP_EV_END_TRAINING},
                        gossip_sim_now_ms(s->sim));
    *busy_ms = action->kind == GOSSIP_ACT_TRAIN ? round_ms(peer) : 1;
    return answered;
}

err_t simulation_peer_make(simulation_t *s, size_t i, bool rejoin)
{
    simulated_t *peer = &s->peers[i];
    node_world_t world = {.bytes = count_bytes,
                          .progress = on_progress,
                          .user = peer,
                          .clock = tell_time,
                          .engine = &s->engine};
    return node_learner_new(&peer->learner, &s->setup, i, s->run, &world,
                            rejoin && node_checkpoint_exists(s->run, s->names[i]), UINT32_MAX,
                            &node_interrupted);
}

err_t simulation_peers_make(simulation_t *s)
{
    err_t err = ERR_OK;
    TRY(node_engine_init(&s->engine, &s->setup));
    size_t before = memory_heap(), n = s->config.peer_count;
    for (size_t i = 0; i < n; i++)
        TRY(simulation_peer_make(s, i, false));
    s->memory.node = (memory_heap() - before) / n;
    if (s->threads > 1)
        TRY(simulation_jobs_new(&s->jobs, s));
out:
    return err;
}

void simulation_peer_crash(simulation_t *s, size_t peer)
{
    if (s->jobs)
        simulation_jobs_forget(s->jobs, peer);
    node_learner_destroy(&s->peers[peer].learner);
}

err_t simulation_peers_finish(simulation_t *s, bool was_interrupted)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < s->config.peer_count; i++)
        if (s->peers[i].learner)
            TRY(node_learner_finish(s->peers[i].learner, was_interrupted));
    node_screen_destroy(&s->screen);
    TRY(node_run_gather(NULL, s->run, &s->config, clock_monotonic_s() - s->started_s));
    TRY(node_calibration_gather(s->run, &s->config));
out:
    return err;
}
