#include "gossip/net_tcp.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

#include "base/log.h"

typedef struct {
    int fd;
    size_t monitor; /* whose events tell of it: another socket's old event may name the same fd */
    struct sockaddr_storage local, remote; /* tell a descriptor that was closed and used again */
    uint64_t sent, received;               /* at the last sample */
} connection_t;

struct net_tcp_s {
    void *context;           /* zmq, not owned */
    void **monitors;         /* (monitor_count) PAIR sockets, owned */
    net_tcp_limit_t *limits; /* (monitor_count) owned */
    size_t monitor_count;
    connection_t *connections; /* open ones, owned */
    size_t count, capacity;
    uint64_t sent, received; /* of connections that have ended */
};

net_tcp_t *net_tcp_new(void *zmq_context)
{
    net_tcp_t *tcp = xcalloc(1, sizeof *tcp);
    tcp->context = zmq_context;
    return tcp;
}

void net_tcp_destroy(net_tcp_t **tcp)
{
    net_tcp_t *t = *tcp;
    if (!t)
        return;
    for (size_t i = 0; i < t->monitor_count; i++)
        zmq_close(t->monitors[i]);
    free(t->monitors);
    free(t->limits);
    free(t->connections);
    free(t);
    *tcp = NULL;
}

err_t net_tcp_watch(net_tcp_t *tcp, void *socket, net_tcp_limit_t limit)
{
    err_t err = ERR_OK;
    char endpoint[64];
    int none = 0;
    snprintf(endpoint, sizeof endpoint, "inproc://monitor-%p", socket);
    if (zmq_socket_monitor(socket, endpoint,
                           ZMQ_EVENT_CONNECTED | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED |
                               ZMQ_EVENT_CLOSED))
        FAIL(ERR_NET, "watch a socket: %s", zmq_strerror(zmq_errno()));
    void *monitor = zmq_socket(tcp->context, ZMQ_PAIR);
    if (!monitor)
        FAIL(ERR_NET, "watch a socket: %s", zmq_strerror(zmq_errno()));
    tcp->monitors = xrealloc(tcp->monitors, tcp->monitor_count + 1, sizeof *tcp->monitors);
    tcp->limits = xrealloc(tcp->limits, tcp->monitor_count + 1, sizeof *tcp->limits);
    tcp->limits[tcp->monitor_count] = limit;
    tcp->monitors[tcp->monitor_count++] = monitor;
    zmq_setsockopt(monitor, ZMQ_LINGER, &none, sizeof none);
    /* No limit: events that found the pipe full would hold up libzmq's own thread, and with it the
     * closing of the socket. */
    zmq_setsockopt(monitor, ZMQ_RCVHWM, &none, sizeof none);
    if (zmq_connect(monitor, endpoint))
        FAIL(ERR_NET, "watch a socket: %s", zmq_strerror(zmq_errno()));
out:
    return err;
}

static bool ends_of(connection_t *connection)
{
    socklen_t local = sizeof connection->local, remote = sizeof connection->remote;
    memset(&connection->local, 0, sizeof connection->local);
    memset(&connection->remote, 0, sizeof connection->remote);
    return !getsockname(connection->fd, (struct sockaddr *)&connection->local, &local) &&
           !getpeername(connection->fd, (struct sockaddr *)&connection->remote, &remote);
}

static void add(net_tcp_t *tcp, int fd, size_t monitor)
{
    connection_t connection = {.fd = fd, .monitor = monitor};
    if (!ends_of(&connection))
        return; /* closed since */
    if (tcp->count == tcp->capacity) {
        tcp->capacity = tcp->capacity ? 2 * tcp->capacity : 16;
        tcp->connections = xrealloc(tcp->connections, tcp->capacity, sizeof *tcp->connections);
    }
    tcp->connections[tcp->count++] = connection;
}

static void end(net_tcp_t *tcp, size_t i)
{
    tcp->sent += tcp->connections[i].sent;
    tcp->received += tcp->connections[i].received;
    tcp->connections[i] = tcp->connections[--tcp->count];
}

/* Reads the kernel's counters; false when the descriptor is no longer this connection. */
static bool read_counters(connection_t *connection)
{
    connection_t now = {.fd = connection->fd};
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (!ends_of(&now) || memcmp(&now.local, &connection->local, sizeof now.local) ||
        memcmp(&now.remote, &connection->remote, sizeof now.remote) ||
        getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &size) ||
        size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return false;
    connection->sent = info.tcpi_bytes_acked;
    connection->received = info.tcpi_bytes_received;
    return true;
}

/* One event of a monitor: two frames, event number with value, and address. */
static bool take_event(net_tcp_t *tcp, size_t index)
{
    void *monitor = tcp->monitors[index];
    unsigned char frame[256];
    uint16_t event;
    int32_t value;
    int size = zmq_recv(monitor, frame, sizeof frame, ZMQ_DONTWAIT);
    if (size < 0)
        return false;
    bool sound = size == (int)(sizeof event + sizeof value);
    memcpy(&event, frame, sizeof event);
    memcpy(&value, frame + sizeof event, sizeof value);
    int more = 0;
    size_t more_size = sizeof more;
    while (!zmq_getsockopt(monitor, ZMQ_RCVMORE, &more, &more_size) && more)
        zmq_recv(monitor, frame, sizeof frame, ZMQ_DONTWAIT);
    if (!sound)
        return true;
    for (size_t i = 0; i < tcp->count; i++)
        if (tcp->connections[i].fd == value && tcp->connections[i].monitor == index)
            end(tcp, i--);
    if (event == ZMQ_EVENT_CONNECTED || event == ZMQ_EVENT_ACCEPTED)
        add(tcp, value, index);
    return true;
}

void net_tcp_sample(net_tcp_t *tcp)
{
    for (size_t i = 0; i < tcp->monitor_count; i++)
        while (take_event(tcp, i))
            ;
    for (size_t i = 0; i < tcp->count; i++) {
        connection_t *connection = &tcp->connections[i];
        const net_tcp_limit_t *limit = &tcp->limits[connection->monitor];
        uint64_t before = connection->received;
        if (!read_counters(connection)) {
            end(tcp, i--);
        } else if ((limit->sample && connection->received - before > limit->sample) ||
                   (limit->life && connection->received > limit->life)) {
            log_debug("flooded", "bytes=%llu", (unsigned long long)connection->received);
            shutdown(connection->fd, SHUT_RDWR);
        }
    }
}

void net_tcp_totals(const net_tcp_t *tcp, uint64_t *sent, uint64_t *received)
{
    *sent = tcp->sent;
    *received = tcp->received;
    for (size_t i = 0; i < tcp->count; i++) {
        *sent += tcp->connections[i].sent;
        *received += tcp->connections[i].received;
    }
}
