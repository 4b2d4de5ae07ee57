#include "gossip/net_sockets.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

enum {
    CONTROL_HWM = 100, /* announcements; only the newest matters */
    LINGER_MS = 1000,  /* for goodbyes; libzmq's own default hangs, czmq's drops them */
    HANDSHAKE_MS = 5000,
    CONNECT_MS = 2000,
    RECONNECT_MS = 200,
    RECONNECT_MAX_MS = 2000, /* a peer that comes back is seen soon; the cost is a SYN every 2 s */
    HEARTBEAT_MS = 2000,
    HEARTBEAT_TIMEOUT_MS = 10000,
    FRAME_SLACK = 4096,      /* headers beside a chunk's payload */
    SUBSCRIPTION_BYTES = 512 /* what a subscriber says: a byte, the topic, and ZMTP's handshake */
};

/* What somebody who connected to us may bring. Subscribers say a few bytes and then a heartbeat
 * every two seconds; asks are some hundred bytes for eight chunks. */
static const net_tcp_limit_t subscriber_limit = {.sample = 16 << 10, .life = 4 << 20};
static const net_tcp_limit_t asker_limit = {.sample = 256 << 10, .life = 64 << 20};
/* What comes from addresses that we chose. */
static const net_tcp_limit_t no_limit = {0};

static void set_int(void *socket, int option, int value)
{
    CHECK(!zmq_setsockopt(socket, option, &value, sizeof value));
}

static void set_limits(void *socket, int hwm, int64_t frame_max)
{
    set_int(socket, ZMQ_SNDHWM, hwm);
    set_int(socket, ZMQ_RCVHWM, hwm);
    CHECK(!zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max));
}

static err_t make_socket(void **socket, net_sockets_t *s, int type, int hwm, int64_t frame_max,
                         net_tcp_limit_t limit)
{
    err_t err = ERR_OK;
    void *made = zmq_socket(s->context, type);
    if (!made)
        FAIL(ERR_NET, "make a socket: %s; see ulimit -n", zmq_strerror(zmq_errno()));
    *socket = made;
    set_limits(made, hwm, frame_max);
    set_int(made, ZMQ_LINGER, LINGER_MS);
    set_int(made, ZMQ_IPV6, 1);
    set_int(made, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    set_int(made, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
    set_int(made, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(made, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    set_int(made, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
    set_int(made, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS);
    set_int(made, ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS);
    set_int(made, ZMQ_SNDTIMEO, 0);
    set_int(made, ZMQ_RCVTIMEO, 0);
    TRY(net_tcp_watch(s->tcp, made, limit));
out:
    return err;
}

/* HOST as ZeroMQ binds to it: a numeric address, IPv6 in brackets. */
static err_t numeric_host(char *out, size_t size, const char *host, const char *peer)
{
    err_t err = ERR_OK;
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    char text[INET6_ADDRSTRLEN + 32];
    int status = getaddrinfo(host, NULL, &hints, &found);
    if (status)
        FAIL(ERR_NET, "peer %s: no address for host %s (%s): write an IP address or a known name",
             peer, host, gai_strerror(status));
    getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    snprintf(out, size, found->ai_family == AF_INET6 ? "[%s]" : "%s", text);
out:
    if (found)
        freeaddrinfo(found);
    return err;
}

static err_t bind_one(void *socket, const char *host, int port, const char *peer)
{
    err_t err = ERR_OK;
    char numeric[128], endpoint[192];
    TRY(numeric_host(numeric, sizeof numeric, host, peer));
    snprintf(endpoint, sizeof endpoint, "tcp://%s:%d", numeric, port);
    if (zmq_bind(socket, endpoint)) {
        if (zmq_errno() == EADDRINUSE)
            FAIL(ERR_NET,
                 "peer %s cannot listen on %s: the port is in use: another hearsay may still run "
                 "there; stop it or choose another port",
                 peer, endpoint);
        FAIL(ERR_NET,
             "peer %s cannot listen on %s: %s; when this machine is reached under another address "
             "than its own, set bind_host",
             peer, endpoint, zmq_strerror(zmq_errno()));
    }
out:
    return err;
}

static err_t connect_one(void *socket, const gossip_address_t *address, int offset)
{
    err_t err = ERR_OK;
    char endpoint[320];
    bool bare_ipv6 = strchr(address->host, ':') != NULL;
    snprintf(endpoint, sizeof endpoint, bare_ipv6 ? "tcp://[%s]:%d" : "tcp://%s:%d", address->host,
             address->port + offset);
    if (zmq_connect(socket, endpoint))
        FAIL(ERR_NET, "connect to %s: %s", endpoint, zmq_strerror(zmq_errno()));
out:
    return err;
}

/* What a data socket must be able to hold: two models in chunks, and some. */
static int data_hwm(const gossip_config_t *config)
{
    size_t chunks = config->table.floats * sizeof(float) / (GOSSIP_CHUNK_BYTES / 2) + 1;
    return (int)(2 * chunks + 16);
}

static err_t open_own(net_sockets_t *s, const gossip_config_t *config,
                      const gossip_address_t *address)
{
    err_t err = ERR_OK;
    const char *name = config->names[config->self];
    const char *host = *address->bind_host ? address->bind_host : address->host;
    int port = address->bind_port ? address->bind_port : address->port;
    TRY(make_socket(&s->control, s, ZMQ_XPUB, CONTROL_HWM, SUBSCRIPTION_BYTES, subscriber_limit));
    TRY(make_socket(&s->data, s, ZMQ_XPUB, data_hwm(config), SUBSCRIPTION_BYTES, subscriber_limit));
    TRY(make_socket(&s->repair, s, ZMQ_ROUTER, data_hwm(config), GOSSIP_CONTROL_BYTES,
                    asker_limit));
    set_int(s->control, ZMQ_XPUB_MANUAL, 1);
    set_int(s->data, ZMQ_XPUB_MANUAL, 1);
    set_int(s->repair, ZMQ_ROUTER_MANDATORY, 1);
    set_int(s->repair, ZMQ_ROUTER_HANDOVER, 1);
    TRY(bind_one(s->control, host, port, name));
    TRY(bind_one(s->data, host, port + 1, name));
    TRY(bind_one(s->repair, host, port + 2, name));
out:
    return err;
}

static err_t open_link(net_sockets_t *s, net_link_t *link, const gossip_config_t *config,
                       const gossip_address_t *address)
{
    err_t err = ERR_OK;
    const int64_t data_max = GOSSIP_CHUNK_BYTES + FRAME_SLACK;
    const char *self = config->names[config->self];
    TRY(make_socket(&link->control, s, ZMQ_SUB, CONTROL_HWM, GOSSIP_CONTROL_BYTES, no_limit));
    TRY(make_socket(&link->data, s, ZMQ_SUB, data_hwm(config), data_max, no_limit));
    TRY(make_socket(&link->repair, s, ZMQ_DEALER, data_hwm(config), data_max, no_limit));
    CHECK(!zmq_setsockopt(link->repair, ZMQ_ROUTING_ID, self, strlen(self)));
    set_int(link->repair, ZMQ_IMMEDIATE, 1);
    CHECK(!zmq_setsockopt(link->control, ZMQ_SUBSCRIBE, NET_TOPIC, NET_TOPIC_BYTES));
    CHECK(!zmq_setsockopt(link->data, ZMQ_SUBSCRIBE, NET_TOPIC, NET_TOPIC_BYTES));
    TRY(connect_one(link->control, address, 0));
    TRY(connect_one(link->data, address, 1));
    TRY(connect_one(link->repair, address, 2));
out:
    return err;
}

err_t net_sockets_open(net_sockets_t *sockets, const gossip_config_t *config,
                       const gossip_address_t *addresses)
{
    err_t err = ERR_OK;
    *sockets = (net_sockets_t){0};
    sockets->context = zmq_ctx_new();
    if (!sockets->context)
        FAIL(ERR_NET, "start ZeroMQ: %s", zmq_strerror(zmq_errno()));
    /* 3 own and 3 for each neighbour, and as many monitors with two ends. */
    int most = (int)(9 * (config->neighbour_count + 1) + 16);
    CHECK(!zmq_ctx_set(sockets->context, ZMQ_MAX_SOCKETS, most));
    sockets->tcp = net_tcp_new(sockets->context);
    TRY(open_own(sockets, config, &addresses[config->self]));
    sockets->links = xcalloc(config->neighbour_count, sizeof *sockets->links);
    for (size_t i = 0; i < config->neighbour_count; i++) {
        net_link_t *link = &sockets->links[sockets->link_count++];
        link->peer = config->neighbours[i];
        TRY(open_link(sockets, link, config, &addresses[link->peer]));
    }
out:
    return err;
}

static void close_one(void *socket)
{
    if (!socket)
        return;
    zmq_socket_monitor(socket, NULL, 0);
    zmq_close(socket);
}

void net_sockets_close(net_sockets_t *sockets)
{
    close_one(sockets->control);
    close_one(sockets->data);
    close_one(sockets->repair);
    for (size_t i = 0; i < sockets->link_count; i++) {
        close_one(sockets->links[i].control);
        close_one(sockets->links[i].data);
        close_one(sockets->links[i].repair);
    }
    net_tcp_destroy(&sockets->tcp);
    if (sockets->context)
        while (zmq_ctx_term(sockets->context) && zmq_errno() == EINTR)
            ;
    free(sockets->links);
    *sockets = (net_sockets_t){0};
}

/* Drops the rest of a message of several frames, one at a time. */
static bool drop_rest(void *socket)
{
    int more = 0;
    bool any = false;
    size_t size = sizeof more;
    while (!zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) && more) {
        zmq_msg_t rest;
        zmq_msg_init(&rest);
        any = true;
        if (zmq_msg_recv(&rest, socket, ZMQ_DONTWAIT) < 0)
            more = 0;
        zmq_msg_close(&rest);
    }
    return any;
}

/* libzmq (4.3) keeps what came and the connections that subscribed in two queues, and takes one of
 * each for whatever is read: something sent that is no subscription uses up the connection of a
 * later one. So each thing read subscribes the connection that is due, whatever it was: every
 * connection that asked is reached, and the one topic is for whoever asks. */
bool net_accept_subscription(void *xpub)
{
    unsigned char frame[8];
    if (zmq_recv(xpub, frame, sizeof frame, ZMQ_DONTWAIT) < 0)
        return false;
    zmq_setsockopt(xpub, ZMQ_SUBSCRIBE, NET_TOPIC, NET_TOPIC_BYTES);
    return true;
}

bool net_receive(void *frame_msg, void *socket, bool *bad)
{
    if (zmq_msg_recv(frame_msg, socket, ZMQ_DONTWAIT) < 0)
        return false;
    *bad = drop_rest(socket);
    return true;
}
