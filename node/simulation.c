/* node/simulation.c: from a configuration to a simulated federation, and what is planned for it. */
#include "node/simulation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "node/identity.h"

err_t simulation_open(simulation_t *s, const node_args_t *args)
{
    const char **sets = xcalloc(args->set_count + 1, sizeof *sets);
    size_t set_count = 0;
    char *peers =
        args->peers ? xasprintf("peers.count=%llu", (unsigned long long)args->peers) : NULL;
    for (; set_count < args->set_count; set_count++)
        sets[set_count] = args->sets[set_count];
    if (peers)
        sets[set_count++] = peers;
    err_t err = node_config_load(&s->config, args->positional[0], sets, set_count);
    free(peers);
    free(sets);
    return err;
}

int64_t simulation_round_ms(const simulation_t *s, uint64_t samples)
{
    const node_config_t *config = &s->config;
    return (int64_t)(config->simulate.ms_per_sample * (double)samples *
                     (double)config->train.local_epochs / (double)config->train.epoch_rounds);
}

void simulation_fail(simulation_t *s, err_t err)
{
    if (!err || s->failed)
        return;
    s->failed = err;
    gossip_sim_stop(s->sim);
}

/* -- Events of the configuration -- */

static int64_t ms(double seconds)
{
    return (int64_t)(seconds * 1e3 + 0.5);
}

static err_t start_peer(simulation_t *s, size_t i, bool rejoin)
{
    const node_learner_t *learner = s->peers[i].learner;
    uint64_t samples = learner ? node_learner_samples(learner) : 1;
    gossip_config_t gossip = node_gossip_config(&s->setup, s->names, i, samples);
    gossip.tamper = s->study ? NULL : node_learner_tamper(s->peers[i].learner);
    gossip.incarnation = (uint64_t)gossip_sim_now_ms(s->sim) + 1; /* not the wall's: it replays */
    gossip.first_round = learner ? node_learner_first_round(learner) : 1;
    gossip.rejoin = rejoin;
    return gossip_sim_start(
        s->sim, &gossip, learner ? node_learner_values(learner) : simulation_study_values(s->study),
        gossip_sim_now_ms(s->sim));
}

static void on_crash(void *user)
{
    simulated_t *peer = user;
    simulation_t *s = peer->simulation;
    if (s->failed || gossip_sim_finished(s->sim, peer->index))
        return; /* too late: it is through */
    log_info("simulated_crash", "peer=%s ms=%lld", s->names[peer->index],
             (long long)gossip_sim_now_ms(s->sim));
    peer->down = true;
    gossip_sim_crash_now(s->sim, peer->index);
    if (!s->study)
        simulation_peer_crash(s, peer->index);
}

static void on_rejoin(void *user)
{
    simulated_t *peer = user;
    simulation_t *s = peer->simulation;
    if (s->failed || gossip_sim_finished(s->sim, peer->index))
        return;
    if (!gossip_sim_at_work(s->sim)) {
        log_warn("simulated_rejoin",
                 "peer=%s ms=%lld text=\"all others have ended: it stays away\"",
                 s->names[peer->index], (long long)gossip_sim_now_ms(s->sim));
        return;
    }
    peer->down = false;
    err_t err = s->study ? ERR_OK : simulation_peer_make(s, peer->index, true);
    simulation_fail(s, err ? err : start_peer(s, peer->index, true));
}

static void plan(simulation_t *s, const node_event_t *event)
{
    uint8_t *side = xcalloc(s->config.peer_count, 1);
    for (size_t k = 0; k < event->peer_count; k++) {
        size_t p = event->peers[k];
        side[p] = 1;
        if (event->kind == NODE_EVENT_PAUSE)
            gossip_sim_pause(s->sim, p, ms(event->at_s), ms(event->until_s));
        else if (event->kind != NODE_EVENT_PARTITION)
            gossip_sim_call(s->sim, event->kind == NODE_EVENT_CRASH ? on_crash : on_rejoin,
                            &s->peers[p], ms(event->at_s));
    }
    if (event->kind == NODE_EVENT_PARTITION)
        gossip_sim_partition(s->sim, side, ms(event->at_s), ms(event->until_s));
    free(side);
}

size_t simulation_lost(const simulation_t *s)
{
    size_t lost = 0;
    for (size_t i = 0; i < s->config.peer_count; i++)
        lost += s->peers[i].down;
    return lost;
}

err_t simulation_start(simulation_t *s, gossip_sim_node_fn *node)
{
    err_t err = ERR_OK;
    gossip_sim_options_t options = {.seed = s->config.seed,
                                    .delay_ms = s->config.simulate.delay_ms,
                                    .jitter_ms = s->config.simulate.jitter_ms,
                                    .loss = s->config.simulate.loss,
                                    .bandwidth = s->config.simulate.bandwidth};
    size_t n = s->config.peer_count;
    TRY(gossip_sim_new(&s->sim, &options, n, node, s));
    if (s->jobs)
        gossip_sim_collect(s->sim, simulation_jobs_collect);
    if (s->trace)
        gossip_sim_trace(s->sim, s->trace, &s->setup.federation);
    size_t before = memory_heap();
    for (size_t i = 0; i < n; i++)
        TRY(start_peer(s, i, false));
    s->memory.gossip = (memory_heap() - before) / n;
    for (size_t i = 0; i < s->config.simulate.event_count; i++)
        plan(s, &s->config.simulate.events[i]);
out:
    return err;
}

typedef struct {
    const simulation_t *simulation;
    node_attacker_t **attackers; /* (peers) NULL at those who say the truth */
} replay_t;

/* A peer's start: its lies are of this life, as its learner's are. */
static err_t replay_config(void *user, size_t peer, gossip_config_t *config)
{
    replay_t *replay = user;
    const simulation_t *s = replay->simulation;
    *config = node_gossip_config(&s->setup, s->names, peer, 1);
    node_attacker_destroy(&replay->attackers[peer]);
    if (!s->study)
        replay->attackers[peer] = node_attacker_new(&s->config.peers[peer].attack, &s->setup.table,
                                                    s->config.seed, peer);
    config->tamper = node_attacker_tamper(replay->attackers[peer]);
    return ERR_OK;
}

err_t simulation_replay(simulation_t *s, const char *path)
{
    err_t err = ERR_OK;
    uint64_t steps = 0;
    replay_t replay = {s, xcalloc(s->config.peer_count, sizeof(node_attacker_t *))};
    FILE *file = fopen(path, "rb");
    if (!file)
        FAIL(ERR_IO, "open %s: %s", path, strerror(errno));
    TRY(gossip_sim_replay(&steps, file, s->config.peer_count, &s->setup.federation, replay_config,
                          &replay));
    printf("%s: %llu steps of %zu peers, every one the same\n", path, (unsigned long long)steps,
           s->config.peer_count);
out:
    for (size_t i = 0; i < s->config.peer_count; i++)
        node_attacker_destroy(&replay.attackers[i]);
    free(replay.attackers);
    if (file)
        fclose(file);
    return err ? err_prefix(err, "%s", path) : ERR_OK;
}
