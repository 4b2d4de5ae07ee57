/* hearsay simulate CONFIG: the same federation in one process: the same learners and the same
 * gossip_step, on a virtual clock. With gossip.deadline none it ends in the consensus, to the bit,
 * of the run over the network. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gossip/sim.h"
#include "node/calibration.h"
#include "node/commands.h"
#include "node/identity.h"
#include "node/interrupt.h"
#include "node/learner.h"
#include "node/report.h"

enum { MS_PER_SAMPLE = 5 };

typedef struct simulation_s simulation_t;

typedef struct {
    simulation_t *simulation;
    size_t index;
    node_learner_t *learner;
    node_line_t line;
} sim_peer_t;

struct simulation_s {
    node_config_t config;
    node_setup_t setup;
    char *run;
    const char **names;
    sim_peer_t *peers;
    gossip_sim_t *sim;
    node_screen_t *screen;
    err_t failed; /* first failure of a learner; its message is recorded */
};

static void count_bytes(void *user, uint64_t *sent, uint64_t *received)
{
    sim_peer_t *peer = user;
    const gossip_sim_t *sim = peer->simulation->sim;
    *sent = sim ? gossip_sim_bytes(sim, peer->index) : 0;
    *received = sim ? gossip_sim_bytes_received(sim, peer->index) : 0;
}

static void on_progress(void *user, const node_progress_t *progress)
{
    sim_peer_t *peer = user;
    if (!peer->simulation->screen)
        return;
    node_report_progress(&peer->line, progress);
    node_screen_update(peer->simulation->screen, peer->index, &peer->line);
    node_screen_draw(peer->simulation->screen);
}

static bool on_action(void *user, size_t index, const gossip_action_t *action,
                      gossip_event_t *answer, int64_t *busy_ms)
{
    simulation_t *s = user;
    bool answered = false, end_training = false;
    sim_peer_t *peer = &s->peers[index];
    if (s->failed)
        return false;
    s->failed = node_learner_act(peer->learner, action, answer, &answered, &end_training);
    if (s->failed)
        gossip_sim_stop(s->sim);
    if (end_training)
        gossip_sim_give(s->sim, index, &(gossip_event_t){.kind = GOSSIP_EV_END_TRAINING},
                        gossip_sim_now_ms(s->sim));
    *busy_ms = action->kind == GOSSIP_ACT_TRAIN
                   ? (int64_t)(MS_PER_SAMPLE * node_learner_samples(peer->learner) *
                               s->config.train.local_epochs / s->config.train.epoch_rounds)
                   : 1;
    return answered && !s->failed;
}

static err_t open_simulation(simulation_t *s, const node_args_t *args)
{
    err_t err = ERR_OK;
    const char **sets = xcalloc(args->set_count + 1, sizeof *sets);
    size_t set_count = 0;
    char *peers =
        args->peers ? xasprintf("peers.count=%llu", (unsigned long long)args->peers) : NULL;
    for (; set_count < args->set_count; set_count++)
        sets[set_count] = args->sets[set_count];
    if (peers)
        sets[set_count++] = peers;
    err = node_config_load(&s->config, args->positional[0], sets, set_count);
    free(peers);
    free(sets);
    TRY(err);
    TRY(node_setup_init(&s->setup, &s->config, SIZE_MAX));
    s->run = node_run_name(&s->config, args->run);
    TRY(node_run_refuse_old(s->run));
    TRY(node_run_create(s->run, &s->config));
    size_t n = s->config.peer_count;
    s->names = xcalloc(n, sizeof *s->names);
    s->peers = xcalloc(n, sizeof *s->peers);
    for (size_t i = 0; i < n; i++) {
        s->names[i] = s->config.peers[i].name;
        s->peers[i] = (sim_peer_t){.simulation = s, .index = i, .line = node_line()};
    }
    printf("%s: %zu simulated peers, %s, %s; run folder %s\n", s->config.federation, n,
           gossip_topology_name(s->config.gossip.topology), s->setup.net->arch.name, s->run);
    if (s->setup.initial.text)
        printf("first model: %s\n", s->setup.initial.text);
    if (!args->quiet)
        s->screen = node_screen_new(s->names, n, s->config.rounds, args->plain);
out:
    return err;
}

static err_t start_peers(simulation_t *s)
{
    err_t err = ERR_OK;
    gossip_sim_options_t options = {.seed = s->config.seed, .delay_ms = 1.0};
    TRY(gossip_sim_new(&s->sim, &options, s->config.peer_count, on_action, s));
    for (size_t i = 0; i < s->config.peer_count; i++) {
        node_world_t world = {.bytes = count_bytes, .progress = on_progress, .user = &s->peers[i]};
        TRY(node_learner_new(&s->peers[i].learner, &s->setup, i, s->run, &world, false, UINT32_MAX,
                             &node_interrupted));
        gossip_config_t gossip =
            node_gossip_config(&s->setup, s->names, i, node_learner_samples(s->peers[i].learner));
        TRY(gossip_sim_start(s->sim, &gossip, node_learner_values(s->peers[i].learner), 0));
    }
out:
    return err;
}

static err_t work(simulation_t *s, const node_args_t *args)
{
    err_t err = ERR_OK;
    double started_s = clock_monotonic_s();
    TRY(open_simulation(s, args));
    TRY(start_peers(s));
    size_t finished = gossip_sim_run(s->sim, INT64_MAX / 2);
    bool was_interrupted = s->failed && node_interrupted;
    if (s->failed && !was_interrupted)
        return s->failed;
    for (size_t i = 0; i < s->config.peer_count; i++)
        TRY(node_learner_finish(s->peers[i].learner, was_interrupted));
    node_screen_destroy(&s->screen);
    TRY(node_run_gather(NULL, s->run, &s->config, clock_monotonic_s() - started_s));
    TRY(node_calibration_gather(s->run, &s->config));
    if (was_interrupted)
        FAIL(ERR_REFUSED, "interrupted; go on with: hearsay up --resume %s", s->run);
    if (finished < s->config.peer_count)
        FAIL(ERR_REFUSED, "only %zu of %zu peers came to the end; see the log", finished,
             s->config.peer_count);
    printf("consensus: %s/consensus.safetensors, after %.1f virtual seconds\n", s->run,
           (double)gossip_sim_now_ms(s->sim) / 1e3);
    if (s->config.quantize.precision_count)
        TRY(node_run_quantize(s->run, &s->setup, stdout));
out:
    return err;
}

int cmd_simulate(const node_args_t *args)
{
    simulation_t s = {0};
    node_interrupt_setup();
    err_t err = work(&s, args);
    node_screen_destroy(&s.screen);
    for (size_t i = 0; s.peers && i < s.config.peer_count; i++)
        node_learner_destroy(&s.peers[i].learner);
    gossip_sim_destroy(&s.sim);
    node_setup_free(&s.setup);
    free(s.peers);
    free(s.names);
    free(s.run);
    node_config_free(&s.config);
    return err ? node_exit(err) : NODE_EXIT_DONE;
}
