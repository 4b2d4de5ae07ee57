/* node/children.h: the peers of a run as processes of this machine. */
#pragma once
#include <sys/types.h>

#include "node/config.h"
#include "node/screen.h"

typedef struct {
    pid_t pid;            /* 0: not running */
    int progress;         /* reading end of its reports, -1 closed */
    int errors;           /* reading end of its stderr, -1 closed */
    bool trains;          /* has come past its start */
    bool failed;          /* ended other than with status 0, or was killed */
    int status;           /* from waitpid once it has ended */
    char last[512];       /* its newest line on stderr */
    char buffer[2][4096]; /* incomplete lines of both pipes */
    size_t filled[2];
} node_child_t;

typedef struct {
    const node_config_t *config;
    const char *run; /* folder */
    node_screen_t *screen;
    node_child_t *child; /* (peer_count), owned */
    size_t running;
    char said[16][128]; /* what peers told last: every neighbour tells of a death, once is enough */
    int64_t said_ms[16];
    size_t said_next;
} node_children_t;

/* Starts `hearsay node RUN/config.yaml --name NAME --run RUN ARGS...` for every peer. `extra` ends
 * with NULL. On failure those that run are stopped. */
err_t node_children_start(node_children_t *children, const node_config_t *config, const char *run,
                          node_screen_t *screen, char *const *extra);

/* Waits at most `timeout_ms` for reports, lines and ends, and shows them. */
void node_children_poll(node_children_t *children, int timeout_ms);

/* Sends `signal` to all that run. */
void node_children_signal(node_children_t *children, int signal);
void node_children_free(node_children_t *children);
