/* hearsay node CONFIG --name NAME: one peer.
 *
 *   config -> data -> model -> { train local epochs -> tell neighbours -> hear neighbours -> mix }
 *   -> consensus -> model file -> report
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "gossip/net.h"
#include "nn/train.h"
#include "node/calibration.h"
#include "node/checkpoint.h"
#include "node/commands.h"
#include "node/identity.h"
#include "node/interrupt.h"
#include "node/learner.h"
#include "node/ports.h"
#include "node/report.h"

enum { POLL_MS = 200, REPORT_MS = 200, GOODBYE_MS = 1000 };

typedef struct {
    node_config_t config;
    node_setup_t setup;
    char *run; /* folder, owned */
    size_t self;
    const char **names; /* (peers), owned array */
    gossip_address_t *addresses;
    node_learner_t *learner;
    gossip_net_t *net;
    uint64_t sent, received; /* last known, for when the net is gone */
    node_screen_t *screen;   /* when nobody else shows us */
    int progress_fd;         /* -1: our own screen */
    int lock;                /* node_run_lock; -1: none */
    node_line_t line;        /* last shown */
    int64_t reported_ms;
} session_t;

static void count_bytes(void *user, uint64_t *sent, uint64_t *received)
{
    session_t *s = user;
    if (s->net)
        gossip_net_bytes(s->net, &s->sent, &s->received);
    *sent = s->sent;
    *received = s->received;
}

static void say(session_t *s, const char *text)
{
    if (s->progress_fd >= 0)
        node_report_say(s->progress_fd, text);
    else if (s->screen)
        node_screen_say(s->screen, "%s", text);
}

static void report(session_t *s, bool at_once)
{
    int64_t now_ms = clock_monotonic_ms();
    if (!at_once && now_ms - s->reported_ms < REPORT_MS)
        return;
    s->reported_ms = now_ms;
    if (s->progress_fd >= 0) {
        node_report_line(s->progress_fd, &s->line);
    } else if (s->screen) {
        node_screen_update(s->screen, 0, &s->line);
        node_screen_draw(s->screen);
    }
}

static void on_progress(void *user, const node_progress_t *progress)
{
    session_t *s = user;
    bool new_phase = strcmp(s->line.phase, progress->phase) || s->line.round != progress->round;
    node_report_progress(&s->line, progress);
    report(s, new_phase);
}

/* From the I/O thread: what happened to another peer. One short line into the pipe is whole,
 * whoever else writes; our own screen is another thread's, so there the log has to do. */
static void on_note(void *user, const gossip_action_t *note)
{
    session_t *s = user;
    char text[256];
    if (s->progress_fd >= 0 && node_report_note(text, sizeof text, s->names, s->self, note))
        node_report_say(s->progress_fd, text);
}

/* Who is waited for, into the line. */
static void show_waiting(session_t *s)
{
    gossip_status_t status;
    gossip_net_status(s->net, &status);
    size_t shown = 0;
    s->line.waits[0] = '\0';
    for (size_t i = 0; status.waiting && i < status.waited_for_count && i < 3; i++) {
        size_t used = strlen(s->line.waits);
        snprintf(s->line.waits + used, sizeof s->line.waits - used, "%s%s", i ? ", " : "",
                 s->names[status.waited_for[i]]);
        shown++;
    }
    if (status.waiting && status.waited_for_count > shown) {
        size_t used = strlen(s->line.waits);
        snprintf(s->line.waits + used, sizeof s->line.waits - used, " and %zu more",
                 status.waited_for_count - shown);
    }
    if (!strcmp(status.phase, "consensus") || !strcmp(status.phase, "adopt"))
        snprintf(s->line.phase, sizeof s->line.phase, "%s", status.phase);
    report(s, false);
}

static err_t open_session(session_t *s, const node_args_t *args)
{
    err_t err = ERR_OK;
    const char *fd = getenv("HEARSAY_PROGRESS_FD");
    uint64_t number;
    s->progress_fd = fd && text_to_u64(&number, fd) && number < 1024 ? (int)number : -1;
    unsetenv("HEARSAY_PROGRESS_FD");
    if (!args->name)
        FAIL(ERR_USAGE, "which peer? say --name NAME (hearsay node --help)");
    TRY(node_config_load(&s->config, args->positional[0], (const char *const *)args->sets,
                         args->set_count));
    TRY(node_config_find_peer(&s->self, &s->config, args->name));
    if (args->resume_round &&
        (!args->resume || args->resume_round > s->config.rounds + UINT64_C(1)))
        FAIL(ERR_USAGE,
             "--resume-round goes with --resume and is at most %u, the round after the last",
             s->config.rounds + 1);
    if ((args->resume || args->rejoin) && !args->run)
        FAIL(ERR_USAGE, "go on with which run? name its folder: --run runs/%s/...",
             s->config.federation);
    s->run = node_run_name(&s->config, args->run);
    bool fresh = !args->resume && !args->rejoin;
    char *config_path = node_run_path(s->run, NULL, "config.yaml");
    bool known = file_exists(config_path);
    if (!known && fresh) {
        /* Several peers may be started into one folder at once: one of them makes it. */
        err = node_run_create(s->run, &s->config);
        known = file_exists(config_path);
        err = known ? ERR_OK : err;
    }
    free(config_path);
    TRY(err);
    if (!known)
        FAIL(ERR_REFUSED, "%s: no run to go on with there (no config.yaml)", s->run);
    TRY(node_run_lock(&s->lock, s->run, args->name));
    char *log = node_run_path(s->run, args->name, "node.log");
    err = log_open_file(log, LOG_INFO);
    free(log);
    TRY(err);
    size_t n = s->config.peer_count;
    s->names = xcalloc(n, sizeof *s->names);
    s->addresses = xcalloc(n, sizeof *s->addresses);
    for (size_t i = 0; i < n; i++) {
        s->names[i] = s->config.peers[i].name;
        s->addresses[i] = s->config.peers[i].address;
    }
    s->line = node_line();
    if (s->progress_fd < 0) {
        printf("%s: peer %s of %zu; run folder %s\n", s->config.federation, args->name, n, s->run);
        fflush(stdout);
    }
    if (s->progress_fd < 0 && !args->quiet)
        s->screen = node_screen_new(&s->names[s->self], 1, s->config.rounds, args->plain);
out:
    return err;
}

static void close_session(session_t *s)
{
    node_screen_destroy(&s->screen);
    gossip_net_destroy(&s->net);
    node_learner_destroy(&s->learner);
    node_setup_free(&s->setup);
    free(s->names);
    free(s->addresses);
    free(s->run);
    node_config_free(&s->config);
    log_close_file();
    if (s->lock >= 0)
        close(s->lock);
}

static err_t start(session_t *s, const node_args_t *args)
{
    err_t err = ERR_OK;
    node_world_t world = {.bytes = count_bytes, .progress = on_progress, .user = s};
    uint32_t round = args->resume_round ? (uint32_t)args->resume_round - 1 : UINT32_MAX;
    bool saved = node_checkpoint_exists(s->run, args->name), resume = saved;
    if (saved && !args->resume && !args->rejoin)
        FAIL(ERR_REFUSED,
             "%s/%s holds a run already: go on with it (--resume, or --rejoin while the others "
             "run), or name another folder with --run",
             s->run, args->name);
    if (args->resume && !saved)
        log_warn("no_checkpoint", "text=\"%s has saved nothing yet: it starts from the beginning\"",
                 args->name);
    log_info("start", "peer=%s cpu=%s blas=%s run=%s", args->name, cpu_level_name(cpu_level()),
             nn_blas_core(), s->run);
    if (resume)
        TRY(node_initial_check_resume(&s->config));
    TRY(node_ports_check(&s->config, s->self, s->progress_fd >= 0));
    TRY(node_setup_init(&s->setup, &s->config, s->self));
    TRY(node_learner_new(&s->learner, &s->setup, s->self, s->run, &world, resume, round,
                         &node_interrupted));
    gossip_config_t gossip =
        node_gossip_config(&s->setup, s->names, s->self, node_learner_samples(s->learner));
    gossip.first_round = node_learner_first_round(s->learner);
    gossip.rejoin = args->rejoin;
    gossip.tamper = node_learner_tamper(s->learner);
    TRY(gossip_net_start(&s->net, &gossip, s->addresses, node_learner_values(s->learner), on_note,
                         s));
out:
    return err;
}

/* A peer that is made slow (peers[].attack) does nothing for as long as it would have trained. */
static void be_slow(const session_t *s, double trained_s)
{
    double wait_s = trained_s * (node_attack_slowness(&s->config.peers[s->self].attack) - 1.0);
    double until_s = clock_monotonic_s() + wait_s;
    while (!node_interrupted && clock_monotonic_s() < until_s) {
        double left_ms = (until_s - clock_monotonic_s()) * 1e3;
        usleep(left_ms < POLL_MS ? (useconds_t)(left_ms * 1e3) + 1 : POLL_MS * 1000);
    }
}

/* Does what gossip asks until it is finished or somebody interrupts. A peer that comes back when
 * the others are gone would make a consensus of its own: it is refused. */
static err_t converge(session_t *s, bool rejoin)
{
    err_t err = ERR_OK;
    bool finished = false;
    while (!finished) {
        gossip_action_t action;
        gossip_event_t answer;
        bool answered, end_training;
        if (node_interrupted)
            FAIL(ERR_REFUSED, "interrupted");
        if (!gossip_net_next(s->net, &action, POLL_MS)) {
            show_waiting(s);
            continue;
        }
        if (node_interrupted) /* what came may be the round that the others' leaving cut short */
            continue;
        finished = action.kind == GOSSIP_ACT_FINISHED;
        if (rejoin && action.kind == GOSSIP_ACT_CONSENSUS && action.report.live <= 1)
            FAIL(ERR_REFUSED,
                 "no other peer is there any more, so nobody has a state to give: when the others "
                 "have finished, their consensus.safetensors in %s is this peer's too",
                 s->run);
        if (action.kind == GOSSIP_ACT_LOST)
            FAIL(
                ERR_REFUSED,
                "the others have finished and are gone, and nobody is left to give what they ended "
                "with: their consensus.safetensors%s in %s are this peer's too",
                node_calibration_wanted(&s->config) ? " and " NODE_INT8_FILE : "", s->run);
        double began_s = clock_monotonic_s();
        TRY(node_learner_act(s->learner, &action, &answer, &answered, &end_training));
        if (action.kind == GOSSIP_ACT_TRAIN)
            be_slow(s, clock_monotonic_s() - began_s);
        if (end_training)
            gossip_net_give(s->net, &(gossip_event_t){.kind = GOSSIP_EV_END_TRAINING});
        if (answered)
            gossip_net_give(s->net, &answer);
    }
out:
    return err;
}

static void say_goodbye(session_t *s)
{
    gossip_action_t action;
    int64_t until_ms = clock_monotonic_ms() + GOODBYE_MS;
    gossip_net_give(s->net, &(gossip_event_t){.kind = GOSSIP_EV_LEAVE});
    while (clock_monotonic_ms() < until_ms)
        if (gossip_net_next(s->net, &action, 50) && action.kind == GOSSIP_ACT_FINISHED)
            break;
}

static err_t work(session_t *s, const node_args_t *args)
{
    err_t err = ERR_OK;
    TRY(open_session(s, args));
    TRY(start(s, args));
    err = converge(s, args->rejoin);
    bool was_interrupted = err && node_interrupted;
    if (err && !was_interrupted) {
        say_goodbye(s);
        goto out;
    }
    if (was_interrupted) {
        say_goodbye(s);
        say(s, "interrupted");
    }
    err = node_learner_finish(s->learner, was_interrupted);
    log_info("end", "interrupted=%d sent=%llu received=%llu", was_interrupted,
             (unsigned long long)s->sent, (unsigned long long)s->received);
    TRY(err);
    if (was_interrupted)
        FAIL(ERR_REFUSED,
             "interrupted; go on with: hearsay node %s/config.yaml --name %s --run %s "
             "--resume",
             s->run, args->name, s->run);
    snprintf(s->line.phase, sizeof s->line.phase, "done");
    s->line.waits[0] = '\0';
    report(s, true);
out:
    if (err)
        log_info("failed", "error=\"%s\"", err_message());
    return err;
}

int cmd_node(const node_args_t *args)
{
    session_t session = {.progress_fd = -1, .lock = -1};
    node_interrupt_setup();
    err_t err = work(&session, args);
    bool own_screen = session.progress_fd < 0 && session.screen;
    char *run = session.run ? xstrdup(session.run) : NULL;
    close_session(&session);
    if (!err && own_screen)
        printf("the consensus: %s/%s/consensus.safetensors\n", run, args->name);
    free(run);
    return err ? node_exit(err) : NODE_EXIT_DONE;
}
