/* gossip/net_tcp.h: bytes that went through the TCP connections of a context's sockets. libzmq
 * tells which descriptors it uses (socket monitors), the kernel what went through them (TCP_INFO).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct net_tcp_s net_tcp_t;

net_tcp_t *net_tcp_new(void *zmq_context);
/* Closes the monitors; the watched sockets must be closed already. */
void net_tcp_destroy(net_tcp_t **tcp);

/* Bytes that a connection may bring us, between two samples and in its whole life; 0 for no limit.
 */
typedef struct {
    uint64_t sample, life;
} net_tcp_limit_t;

/* Watches the connections of `socket` from now on; call before bind and connect. A connection
 * beyond `limit` is shut down, for libzmq collects the parts of a message without end before
 * anybody can refuse it; an honest peer connects again. ERR_NET. */
err_t net_tcp_watch(net_tcp_t *tcp, void *socket, net_tcp_limit_t limit);

/* Takes what the monitors say, then reads every connection's counters. What a connection carried
 * after the last call before its end is not counted. */
void net_tcp_sample(net_tcp_t *tcp);

/* Sums so far: payload of TCP, acknowledged by the other end, and received. */
void net_tcp_totals(const net_tcp_t *tcp, uint64_t *sent, uint64_t *received);
