/* gossip/net_io.h: the I/O thread. While it runs it alone touches the sockets; it reads them, steps
 * the protocol with what comes, sends what the protocol wants sent, and leaves the rest to the
 * node's thread (net.c), with which it shares what stands below the lock. */
#pragma once
#include <pthread.h>
#include <zmq.h>

#include "gossip/net_queue.h"
#include "gossip/net_sockets.h"

struct gossip_net_s {
    gossip_t *gossip;
    net_sockets_t sockets;
    size_t floats, peers, self;
    char (*names)[GOSSIP_NAME_MAX]; /* (peers), owned */
    pthread_t thread;
    bool running;
    int wake;             /* eventfd: something for the I/O thread */
    zmq_pollitem_t *poll; /* owned: four of its own, then 3 a link */
    gossip_actions_t actions;
    int64_t tick_ms, sample_ms; /* when they are due; tick INT64_MAX: none */

    pthread_mutex_t lock; /* all below, and gossip_step against those who look in */
    pthread_cond_t news;  /* an action for the node */
    net_list_t events, outbox;
    net_item_t *handed; /* the action that the node looks at */
    bool stop, sample_now;
    uint64_t samples_taken;
    uint64_t sent, received;
    uint64_t foreign, bad; /* frames that never reached the protocol */
    gossip_note_fn *on_note;
    void *note_user;
};

/* The sockets are open and `wake` is an eventfd. ERR_NET. */
err_t net_io_start(gossip_net_t *net);
/* Has the thread look at `events`, `stop` and `sample_now`. */
void net_io_wake(gossip_net_t *net);
/* Ends it and waits for that; does nothing when it does not run. */
void net_io_stop(gossip_net_t *net);
