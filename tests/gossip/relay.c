#include "tests/gossip/relay.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"

enum { PAIRS_MAX = 64, LISTENERS_MAX = 8, TURN_MS = 20 };

typedef struct {
    int client, server;
} pair_t;

struct relay_s {
    uint16_t to;
    size_t count;
    int listeners[LISTENERS_MAX];
    pair_t pairs[PAIRS_MAX];
    size_t pair_count;
    atomic_uint_fast64_t there, back;
    atomic_bool stop;
    pthread_t thread;
};

static struct sockaddr_in local(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in address = local(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 16)) {
        close(fd);
        return -1;
    }
    return fd;
}

uint16_t free_ports(size_t count)
{
    /* 6100 to 9999: no peer's default, below tests/system's, far below what the system hands out */
    enum { FIRST = 6100, SPAN = 3900 };
    static size_t next;
    if (!next)
        next = (size_t)getpid() * 64;
    for (int tries = 0; tries < SPAN; tries++) {
        size_t start = FIRST + next % SPAN, free = 0;
        while (free < count && start + count <= FIRST + SPAN) {
            int fd = listen_at((uint16_t)(start + free));
            if (fd < 0)
                break;
            close(fd);
            free++;
        }
        next += free < count ? free + 1 : count;
        if (free == count)
            return (uint16_t)start;
    }
    CHECK(!"free ports");
    return 0;
}

static void take_in(relay_t *relay, size_t listener)
{
    struct sockaddr_in address = local((uint16_t)(relay->to + listener));
    pair_t pair = {accept(relay->listeners[listener], NULL, NULL), socket(AF_INET, SOCK_STREAM, 0)};
    if (pair.client >= 0 && relay->pair_count < PAIRS_MAX &&
        !connect(pair.server, (struct sockaddr *)&address, sizeof address)) {
        relay->pairs[relay->pair_count++] = pair;
        return;
    }
    close(pair.client);
    close(pair.server);
}

/* False when the connection has ended. */
static bool pass_on(int from, int to, atomic_uint_fast64_t *bytes)
{
    char buffer[1 << 16];
    ssize_t got = recv(from, buffer, sizeof buffer, MSG_DONTWAIT);
    for (ssize_t at = 0; at < got;) {
        ssize_t put = send(to, buffer + at, (size_t)(got - at), MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        at += put;
        atomic_fetch_add(bytes, (uint64_t)put);
    }
    return got > 0;
}

static void *relay_thread(void *argument)
{
    relay_t *relay = argument;
    while (!atomic_load(&relay->stop)) {
        struct pollfd fds[LISTENERS_MAX + 2 * PAIRS_MAX];
        size_t pairs = relay->pair_count, n = relay->count;
        for (size_t i = 0; i < n; i++)
            fds[i] = (struct pollfd){relay->listeners[i], POLLIN, 0};
        for (size_t i = 0; i < pairs; i++) {
            fds[n + 2 * i] = (struct pollfd){relay->pairs[i].client, POLLIN, 0};
            fds[n + 2 * i + 1] = (struct pollfd){relay->pairs[i].server, POLLIN, 0};
        }
        poll(fds, n + 2 * pairs, TURN_MS);
        for (size_t i = pairs; i-- > 0;) {
            pair_t pair = relay->pairs[i];
            bool up = !fds[n + 2 * i].revents || pass_on(pair.client, pair.server, &relay->there);
            bool down =
                !fds[n + 2 * i + 1].revents || pass_on(pair.server, pair.client, &relay->back);
            if (up && down)
                continue;
            close(pair.client);
            close(pair.server);
            relay->pairs[i] = relay->pairs[--relay->pair_count];
        }
        for (size_t i = 0; i < n; i++)
            if (fds[i].revents)
                take_in(relay, i);
    }
    return NULL;
}

relay_t *relay_new(uint16_t from, uint16_t to, size_t count)
{
    relay_t *relay = xcalloc(1, sizeof *relay);
    CHECK(count <= LISTENERS_MAX);
    relay->to = to;
    relay->count = count;
    for (size_t i = 0; i < count; i++) {
        relay->listeners[i] = listen_at((uint16_t)(from + i));
        CHECK(relay->listeners[i] >= 0);
    }
    CHECK(!pthread_create(&relay->thread, NULL, relay_thread, relay));
    return relay;
}

void relay_destroy(relay_t **at)
{
    relay_t *relay = *at;
    atomic_store(&relay->stop, true);
    pthread_join(relay->thread, NULL);
    for (size_t i = 0; i < relay->count; i++)
        close(relay->listeners[i]);
    for (size_t i = 0; i < relay->pair_count; i++) {
        close(relay->pairs[i].client);
        close(relay->pairs[i].server);
    }
    free(relay);
    *at = NULL;
}

void relay_bytes(relay_t *relay, uint64_t *there, uint64_t *back)
{
    *there = atomic_load(&relay->there);
    *back = atomic_load(&relay->back);
}
