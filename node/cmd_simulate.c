/* hearsay simulate CONFIG: the same federation in one process: the same learners and the same
 * gossip_step, on a virtual clock. With gossip.deadline none it ends in the consensus, to the bit,
 * of the run over the network. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "node/commands.h"
#include "node/interrupt.h"
#include "node/simulation.h"

enum { PARAMETERS = 1000 };

static err_t make_peers(simulation_t *s)
{
    size_t n = s->config.peer_count;
    s->names = xcalloc(n, sizeof *s->names);
    s->peers = xcalloc(n, sizeof *s->peers);
    for (size_t i = 0; i < n; i++) {
        s->names[i] = s->config.peers[i].name;
        s->peers[i] = (simulated_t){.simulation = s, .index = i, .line = node_line()};
    }
    return ERR_OK;
}

/* Learners, with a run folder. */
static err_t open_training(simulation_t *s, const node_args_t *args)
{
    err_t err = ERR_OK;
    s->run = node_run_name(&s->config, args->run);
    TRY(node_run_refuse_old(s->run));
    TRY(node_run_create(s->run, &s->config));
    if (!args->json) {
        printf("%s: %zu simulated peers, %s, %s; run folder %s\n", s->config.federation,
               s->config.peer_count, gossip_topology_name(s->config.gossip.topology),
               s->setup.net->arch.name, s->run);
        if (s->setup.initial.text)
            printf("first model: %s\n", s->setup.initial.text);
        node_run_print_attackers(stdout, &s->config);
    }
    if (!args->quiet && !args->json)
        s->screen = node_screen_new(s->names, s->config.peer_count, s->config.rounds, args->plain);
    TRY(simulation_peers_make(s));
out:
    return err;
}

static err_t check_args(const node_args_t *args)
{
    err_t err = ERR_OK;
    if (args->replay && (args->run || args->trace || args->json || args->threads))
        FAIL(ERR_USAGE, "--replay runs nothing: leave --run, --trace, --json and --threads out");
    if (args->parameters && !args->no_train)
        FAIL(ERR_USAGE, "--parameters goes with --no-train: a network has its own");
    if (args->no_train && args->run)
        FAIL(ERR_USAGE, "--run: nothing is written with --no-train");
    if (args->no_train && args->threads > 1)
        FAIL(ERR_USAGE, "--threads trains several peers at once, and --no-train trains none");
out:
    return err;
}

static err_t finish(simulation_t *s, const node_args_t *args, size_t finished)
{
    err_t err = ERR_OK;
    bool was_interrupted = s->failed && node_interrupted;
    if (s->failed && (!was_interrupted || s->study))
        return s->failed;
    simulation_jobs_destroy(&s->jobs); /* who still trains changes its peer's model */
    if (!s->study)
        TRY(simulation_peers_finish(s, was_interrupted));
    if (was_interrupted)
        FAIL(ERR_REFUSED, "interrupted; go on with: hearsay up --resume %s", s->run);
    if (finished + simulation_lost(s) < s->config.peer_count)
        FAIL(ERR_REFUSED, "only %zu of %zu peers came to the end; see the log", finished,
             s->config.peer_count);
    if (!s->study && !args->json)
        printf("consensus: %s/consensus.safetensors, after %.1f virtual seconds\n", s->run,
               (double)gossip_sim_now_ms(s->sim) / 1e3);
    if (s->study || args->json || !args->quiet)
        simulation_report(s, args->json, finished);
    if (s->config.quantize.precision_count)
        TRY(node_run_quantize(s->run, &s->setup, args->json ? stderr : stdout));
out:
    return err;
}

static err_t work(simulation_t *s, const node_args_t *args)
{
    err_t err = ERR_OK;
    s->started_s = clock_monotonic_s();
    s->driver = pthread_self();
    s->threads = args->threads ? args->threads : 1;
    TRY(check_args(args));
    TRY(simulation_open(s, args));
    TRY(make_peers(s));
    if (args->no_train)
        TRY(simulation_study_open(s, args->parameters ? args->parameters : PARAMETERS));
    else
        TRY(node_setup_init(&s->setup, &s->config, SIZE_MAX));
    if (args->replay)
        return simulation_replay(s, args->replay);
    if (!args->no_train)
        TRY(open_training(s, args));
    if (args->trace && !(s->trace = fopen(args->trace, "wb")))
        FAIL(ERR_IO, "open %s: %s", args->trace, strerror(errno));
    TRY(simulation_start(s, s->study ? simulation_study_act : simulation_peers_act));
    s->begun_s = clock_monotonic_s();
    s->begun_cpu_s = simulation_cpu_s();
    size_t finished = gossip_sim_run(s->sim, INT64_MAX / 2);
    s->ended_s = clock_monotonic_s();
    s->ended_cpu_s = simulation_cpu_s();
    if (s->trace && !gossip_sim_traced(s->sim))
        FAIL(ERR_IO, "write %s: not all of the trace could be written; is the disk full?",
             args->trace);
    TRY(finish(s, args, finished));
out:
    return err;
}

int cmd_simulate(const node_args_t *args)
{
    simulation_t s = {0};
    node_interrupt_setup();
    err_t err = work(&s, args);
    node_screen_destroy(&s.screen);
    simulation_jobs_destroy(&s.jobs);
    for (size_t i = 0; s.peers && i < s.config.peer_count; i++)
        node_learner_destroy(&s.peers[i].learner);
    gossip_sim_destroy(&s.sim);
    if (s.trace)
        fclose(s.trace);
    simulation_study_free(&s.study);
    node_engine_free(&s.engine);
    node_setup_free(&s.setup);
    free(s.peers);
    free(s.names);
    free(s.run);
    node_config_free(&s.config);
    return err ? node_exit(err) : NODE_EXIT_DONE;
}
