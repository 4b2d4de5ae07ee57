#include "node/children.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "node/interrupt.h"
#include "node/report.h"
#include "node/run.h"

enum { PROGRESS_FD = 3, ARGUMENTS_MAX = 24 };

static char self_path[4096];

/* In the child, between fork and exec: only calls that are safe there. */
static _Noreturn void become_peer(char *const *argv, int progress, int errors, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    int nothing = open("/dev/null", O_RDWR);
    if (nothing >= 0) {
        dup2(nothing, STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
    }
    dup2(errors, STDERR_FILENO);
    if (progress == PROGRESS_FD)
        fcntl(progress, F_SETFD, 0);
    else
        dup2(progress, PROGRESS_FD);
    execv(self_path, argv);
    _exit(127);
}

static err_t start_one(node_children_t *children, size_t i, char *const *extra)
{
    err_t err = ERR_OK;
    node_child_t *child = &children->child[i];
    int progress[2] = {-1, -1}, errors[2] = {-1, -1};
    char *argv[ARGUMENTS_MAX];
    int argc = 0;
    char *config_path = node_run_path(children->run, NULL, "config.yaml");
    argv[argc++] = self_path;
    argv[argc++] = "node";
    argv[argc++] = config_path;
    argv[argc++] = "--name";
    argv[argc++] = children->config->peers[i].name;
    argv[argc++] = "--run";
    argv[argc++] = (char *)(uintptr_t)children->run;
    for (; *extra && argc < ARGUMENTS_MAX - 1; extra++)
        argv[argc++] = *extra;
    argv[argc] = NULL;
    if (pipe2(progress, O_CLOEXEC) || pipe2(errors, O_CLOEXEC))
        FAIL(ERR_IO, "make a pipe: %s", strerror(errno));
    /* A peer must never wait for who watches it: a line that does not fit is left out. */
    fcntl(progress[1], F_SETFL, O_NONBLOCK);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        FAIL(ERR_IO, "start peer %s: %s", children->config->peers[i].name, strerror(errno));
    if (pid == 0)
        become_peer(argv, progress[1], errors[1], parent);
    child->pid = pid;
    child->progress = progress[0];
    child->errors = errors[0];
    fcntl(progress[0], F_SETFL, O_NONBLOCK);
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    progress[0] = errors[0] = -1;
    children->running++;
out:
    for (int k = 0; k < 2; k++) {
        if (progress[k] >= 0)
            close(progress[k]);
        if (errors[k] >= 0)
            close(errors[k]);
    }
    free(config_path);
    return err;
}

err_t node_children_start(node_children_t *children, const node_config_t *config, const char *run,
                          node_screen_t *screen, char *const *extra)
{
    err_t err = ERR_OK;
    *children = (node_children_t){.config = config, .run = run, .screen = screen};
    children->child = xcalloc(config->peer_count, sizeof *children->child);
    for (size_t i = 0; i < config->peer_count; i++)
        children->child[i].progress = children->child[i].errors = -1;
    ssize_t n = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    if (n <= 0)
        FAIL(ERR_IO, "read /proc/self/exe: %s", strerror(errno));
    self_path[n] = '\0';
    setenv("HEARSAY_PROGRESS_FD", "3", 1);
    for (size_t i = 0; i < config->peer_count; i++)
        TRY(start_one(children, i, extra));
out:
    unsetenv("HEARSAY_PROGRESS_FD");
    if (err)
        node_children_free(children);
    return err;
}

/* Whether somebody said the same a moment ago; remembers it if not. */
static bool already_said(node_children_t *children, const char *text)
{
    enum { SAID = sizeof children->said / sizeof children->said[0], MOMENT_MS = 15000 };
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < SAID; i++)
        if (!strncmp(children->said[i], text, sizeof children->said[i] - 1) &&
            now_ms - children->said_ms[i] < MOMENT_MS)
            return true;
    size_t at = children->said_next++ % SAID;
    snprintf(children->said[at], sizeof children->said[at], "%.*s",
             (int)sizeof children->said[at] - 1, text);
    children->said_ms[at] = now_ms;
    return false;
}

static void take_progress(node_children_t *children, size_t i, const char *text, size_t size)
{
    node_line_t line = node_line();
    char said[256];
    switch (node_report_parse(text, size, &line, said, sizeof said)) {
    case 'l':
        if (strcmp(line.phase, "loading"))
            children->child[i].trains = true;
        node_screen_update(children->screen, i, &line);
        break;
    case 't':
        if (!already_said(children, said))
            node_screen_say(children->screen, "%s", said);
        break;
    default:
        break;
    }
}

static void take_error(node_children_t *children, size_t i, const char *text, size_t size)
{
    node_child_t *child = &children->child[i];
    text_printable(child->last, sizeof child->last, text, size);
    if (strncmp(child->last, "hearsay: ", 9))
        node_screen_say(children->screen, "%s: %s", children->config->peers[i].name, child->last);
}

/* Reads what a pipe holds, line by line; closes it at its end. */
static void drain(node_children_t *children, size_t i, int which)
{
    node_child_t *child = &children->child[i];
    int *fd = which ? &child->errors : &child->progress;
    char *buffer = child->buffer[which];
    size_t *filled = &child->filled[which];
    while (*fd >= 0) {
        ssize_t n = read(*fd, buffer + *filled, sizeof child->buffer[0] - *filled);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            close(*fd);
            *fd = -1;
            return;
        }
        *filled += (size_t)n;
        char *start = buffer, *end;
        while ((end = memchr(start, '\n', *filled - (size_t)(start - buffer)))) {
            (which ? take_error : take_progress)(children, i, start, (size_t)(end - start));
            start = end + 1;
        }
        *filled -= (size_t)(start - buffer);
        memmove(buffer, start, *filled);
        if (*filled == sizeof child->buffer[0])
            *filled = 0; /* a line longer than any of ours */
    }
}

static void take_end(node_children_t *children, size_t i, int status)
{
    node_child_t *child = &children->child[i];
    const char *name = children->config->peers[i].name;
    drain(children, i, 0);
    drain(children, i, 1);
    child->pid = 0;
    child->status = status;
    child->failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    children->running--;
    if (!child->failed)
        return;
    node_line_t line = node_line();
    snprintf(line.phase, sizeof line.phase, WIFSIGNALED(status) ? "killed" : "stopped");
    node_screen_update(children->screen, i, &line);
    if (!WIFSIGNALED(status)) {
        const char *text = strncmp(child->last, "hearsay: ", 9) ? child->last : child->last + 9;
        if (child->trains && !node_interrupted)
            node_screen_say(children->screen,
                            "%s failed: %s\nwhen that is mended, bring it back with:\n"
                            "  %s node %s/config.yaml --name %s --run %s --rejoin",
                            name, text, self_path, children->run, name, children->run);
        return;
    }
    if (!*child->last)
        snprintf(child->last, sizeof child->last, "%s was killed by signal %d (%s)", name,
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (node_interrupted || !child->trains)
        return;
    node_screen_say(children->screen,
                    "%s was killed by signal %d (%s); bring it back with:\n"
                    "  %s node %s/config.yaml --name %s --run %s --rejoin",
                    name, WTERMSIG(status), strsignal(WTERMSIG(status)), self_path, children->run,
                    name, children->run);
}

void node_children_poll(node_children_t *children, int timeout_ms)
{
    size_t n = children->config->peer_count;
    struct pollfd *fds = xcalloc(2 * n, sizeof *fds);
    for (size_t i = 0; i < n; i++) {
        fds[2 * i] = (struct pollfd){.fd = children->child[i].progress, .events = POLLIN};
        fds[2 * i + 1] = (struct pollfd){.fd = children->child[i].errors, .events = POLLIN};
    }
    if (poll(fds, 2 * n, timeout_ms) > 0)
        for (size_t k = 0; k < 2 * n; k++)
            if (fds[k].revents)
                drain(children, k / 2, (int)(k % 2));
    free(fds);
    for (size_t i = 0; i < n; i++) {
        int status;
        if (children->child[i].pid && waitpid(children->child[i].pid, &status, WNOHANG) > 0)
            take_end(children, i, status);
    }
    node_screen_draw(children->screen);
}

void node_children_signal(node_children_t *children, int signal_number)
{
    for (size_t i = 0; i < children->config->peer_count; i++)
        if (children->child[i].pid)
            kill(children->child[i].pid, signal_number);
}

void node_children_free(node_children_t *children)
{
    if (!children->child)
        return;
    node_children_signal(children, SIGKILL);
    for (size_t i = 0; i < children->config->peer_count; i++) {
        node_child_t *child = &children->child[i];
        if (child->pid)
            waitpid(child->pid, NULL, 0);
        if (child->progress >= 0)
            close(child->progress);
        if (child->errors >= 0)
            close(child->errors);
    }
    free(children->child);
    *children = (node_children_t){0};
}
