/* hearsay up CONFIG: every peer of a configuration as a process of this machine, watched until they
 * have one consensus, gathered, quantized. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/text.h"
#include "node/calibration.h"
#include "node/checkpoint.h"
#include "node/children.h"
#include "node/commands.h"
#include "node/interrupt.h"
#include "node/ports.h"
#include "node/run.h"

enum { POLL_MS = 100, STOP_MS = 4000, REVIVED_MS = 60000 };

typedef struct {
    node_config_t config;
    node_setup_t setup;
    char *run;          /* owned */
    bool common;        /* going on: all peers have saved common_round */
    uint32_t common_round;
    const char **names; /* (peers), owned array */
    node_children_t children;
    node_screen_t *screen;
    double started_s;
    FILE *json; /* standard output proper, with --json; owned */
} up_t;

static err_t check_ports(const node_config_t *config)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < config->peer_count; i++)
        TRY(node_ports_check(config, i, true));
out:
    return err;
}

/* The round that all can go on from. What no peer could go on with is said ahead of the run's
 * configuration being written anew. */
static err_t find_round(up_t *up)
{
    err_t err = node_checkpoint_common(&up->common_round, up->run, &up->setup);
    up->common = !err;
    return err == ERR_CONFIG ? err : ERR_OK;
}

static err_t open_run(up_t *up, const node_args_t *args)
{
    err_t err = ERR_OK;
    char *path = NULL;
    if (args->resume && args->positional_count)
        FAIL(ERR_USAGE, "--resume RUN takes its configuration from the run: leave CONFIG out");
    if (args->resume && args->run)
        FAIL(ERR_USAGE, "--resume %s goes on in that folder: leave --run out", args->resume);
    if (!args->resume && !args->positional_count)
        FAIL(ERR_USAGE, "which configuration? hearsay up CONFIG, or hearsay up --resume RUN");
    path = args->resume ? node_run_path(args->resume, NULL, "config.yaml")
                        : xstrdup(args->positional[0]);
    if (args->resume && !file_exists(path))
        FAIL(ERR_REFUSED, "%s: no run to go on with there (no config.yaml)", args->resume);
    TRY(node_config_load(&up->config, path, (const char *const *)args->sets, args->set_count));
    if (args->resume)
        TRY(node_initial_check_resume(&up->config));
    TRY(node_setup_init(&up->setup, &up->config, SIZE_MAX));
    TRY(check_ports(&up->config));
    up->run = args->resume ? xstrdup(args->resume) : node_run_name(&up->config, args->run);
    if (!args->resume)
        TRY(node_run_refuse_old(up->run));
    else
        TRY(find_round(up));
    TRY(node_run_create(up->run, &up->config));
    up->names = xcalloc(up->config.peer_count, sizeof *up->names);
    for (size_t i = 0; i < up->config.peer_count; i++)
        up->names[i] = up->config.peers[i].name;
out:
    free(path);
    return err;
}

static err_t launch(up_t *up, const node_args_t *args)
{
    err_t err = ERR_OK;
    char round_text[16];
    char *fresh[] = {NULL};
    char *resume[] = {"--resume", NULL, NULL, NULL};
    if (up->common) {
        snprintf(round_text, sizeof round_text, "%u", up->common_round + 1);
        resume[1] = "--resume-round";
        resume[2] = round_text;
    }
    const bool alone = up->config.peer_count == 1;
    printf("%s: %zu peer%s, %s, %s; run folder %s\n", up->config.federation, up->config.peer_count,
           alone ? "" : "s", alone ? "alone" : gossip_topology_name(up->config.gossip.topology),
           up->setup.net->arch.name, up->run);
    if (up->setup.initial.text)
        printf("first model: %s\n", up->setup.initial.text);
    node_run_print_attackers(stdout, &up->config);
    if (up->common)
        printf("going on after round %u of %u\n", up->common_round, up->config.rounds);
    else if (args->resume)
        printf("no round that all peers have saved: those behind catch up from the others\n");
    fflush(stdout);
    up->screen = node_screen_new(up->names, up->config.peer_count, up->config.rounds, args->plain);
    TRY(node_children_start(&up->children, &up->config, up->run, up->screen,
                            args->resume ? resume : fresh));
out:
    return err;
}

/* A peer that could not even start: the others would wait for it in vain. */
static node_child_t *failed_start(up_t *up)
{
    for (size_t i = 0; i < up->config.peer_count; i++) {
        node_child_t *child = &up->children.child[i];
        if (child->failed && !child->trains)
            return child;
    }
    return NULL;
}

static void stop_all(up_t *up)
{
    int64_t until_ms = clock_monotonic_ms() + STOP_MS;
    node_children_signal(&up->children, SIGTERM);
    while (up->children.running && clock_monotonic_ms() < until_ms && node_interrupt_count < 2)
        node_children_poll(&up->children, POLL_MS);
    if (up->children.running)
        node_children_signal(&up->children, SIGKILL);
    while (up->children.running)
        node_children_poll(&up->children, POLL_MS);
}

/* Until all children have ended. ERR_REFUSED when interrupted, or when one failed at its start. */
static err_t watch(up_t *up)
{
    err_t err = ERR_OK;
    while (up->children.running) {
        node_children_poll(&up->children, POLL_MS);
        if (node_interrupted) {
            stop_all(up);
            FAIL(ERR_REFUSED, "interrupted; go on with: hearsay up --resume %s", up->run);
        }
        const node_child_t *child = failed_start(up);
        if (child) {
            char last[sizeof child->last];
            memcpy(last, child->last, sizeof last);
            const char *text = strncmp(last, "hearsay: ", 9) ? last : last + 9;
            bool usage = WIFEXITED(child->status) && WEXITSTATUS(child->status) == NODE_EXIT_USAGE;
            stop_all(up);
            FAIL(usage ? ERR_CONFIG : ERR_IO, "%s", *text ? text : "a peer could not start");
        }
    }
out:
    return err;
}

/* A peer that was killed and brought back by hand is not our child: waits while its port is taken.
 */
static void wait_for_revived(up_t *up)
{
    int64_t until_ms = clock_monotonic_ms() + REVIVED_MS;
    while (!node_interrupted && clock_monotonic_ms() < until_ms && check_ports(&up->config))
        usleep(100 * 1000);
    err_clear();
}

static void print_end(const up_t *up, const json_t *summary)
{
    const json_t *consensus = json_object_get(summary, "consensus");
    const json_t *accuracy = json_object_get(consensus, "test_accuracy");
    const json_t *distance = json_object_get(consensus, "distance");
    size_t n;
    const json_t *peer;
    double sent = 0.0;
    json_array_foreach(json_object_get(summary, "peers"), n, peer) sent +=
        (double)json_integer_value(json_object_get(peer, "bytes_sent"));
    if (!json_is_object(consensus))
        return;
    char bytes[24];
    text_bytes(bytes, sent);
    printf("\nconsensus   %s/consensus.safetensors\n", up->run);
    printf("sha256      %s\n", json_string_value(json_object_get(consensus, "sha256")));
    if (json_is_real(accuracy))
        printf("accuracy    %.2f %% on the common test set\n", 100 * json_real_value(accuracy));
    char bound[24] = "";
    text_bound(bound, json_real_value(distance), 2, true);
    if (json_is_real(distance))
        printf("certified   no peer was farther than %s of the model from the mean of all\n", bound);
    else
        printf("certified   no: how far the peers were apart is not known\n");
    printf("sent        %s by all peers, in %.0f s\n", bytes, clock_monotonic_s() - up->started_s);
}

static err_t finish(up_t *up, bool was_interrupted)
{
    err_t err = ERR_OK;
    json_t *summary = NULL;
    char *text = NULL;
    node_screen_destroy(&up->screen);
    wait_for_revived(up);
    TRY(node_run_gather(&summary, up->run, &up->config, clock_monotonic_s() - up->started_s));
    TRY(node_calibration_gather(up->run, &up->config));
    print_end(up, summary);
    bool agreed = json_is_object(json_object_get(summary, "consensus"));
    if (!agreed && !was_interrupted)
        FAIL(ERR_REFUSED,
             "no peer came to a consensus; see RUN/PEER/node.log, and go on with: "
             "hearsay up --resume %s",
             up->run);
    if (agreed && !was_interrupted && up->config.quantize.precision_count) {
        putchar('\n');
        TRY(node_run_quantize(up->run, &up->setup, stdout));
    }
    if (up->json) {
        text = json_dumps(summary, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        if (fprintf(up->json, "%s\n", text) < 0 || fflush(up->json))
            FAIL(ERR_IO, "write to standard output: %s", strerror(errno));
    }
out:
    free(text);
    json_decref(summary);
    return err;
}

/* With --json standard output is the summary's alone; all else goes where errors go. */
static err_t set_json_apart(up_t *up)
{
    err_t err = ERR_OK;
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    up->json = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!up->json || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        FAIL(ERR_IO, "set standard output apart: %s", strerror(errno));
out:
    return err;
}

static err_t work(up_t *up, const node_args_t *args)
{
    err_t err = ERR_OK, ended;
    up->started_s = clock_monotonic_s();
    if (args->json)
        TRY(set_json_apart(up));
    TRY(open_run(up, args));
    TRY(launch(up, args));
    ended = watch(up);
    if (ended && !node_interrupted)
        return ended;
    char *why = ended ? xstrdup(err_message()) : NULL;
    err = finish(up, ended != ERR_OK);
    if (ended)
        err = err_set(ended, "%s", why); /* stopped by hand: what could be gathered is */
    free(why);
out:
    return err;
}

int cmd_up(const node_args_t *args)
{
    up_t up = {0};
    node_interrupt_setup();
    err_t err = work(&up, args);
    node_screen_destroy(&up.screen);
    node_children_free(&up.children);
    node_setup_free(&up.setup);
    if (up.json)
        fclose(up.json);
    free(up.names);
    free(up.run);
    node_config_free(&up.config);
    return err ? node_exit(err) : NODE_EXIT_DONE;
}
