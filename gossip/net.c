/* The node's side: starts and ends the I/O thread, hands over events, takes actions, looks in. */
#include "gossip/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "gossip/net_io.h"

enum { BYTES_MS = 1000 /* patience of who asks for them */ };

err_t gossip_net_start(gossip_net_t **net, const gossip_config_t *config,
                       const gossip_address_t *addresses, const float *values,
                       gossip_note_fn *on_note, void *user)
{
    err_t err = ERR_OK;
    gossip_net_t *n = xcalloc(1, sizeof *n);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&n->news, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&n->lock, NULL);
    net_list_init(&n->events);
    net_list_init(&n->outbox);
    n->tick_ms = INT64_MAX;
    n->floats = config->table.floats;
    n->peers = config->peers;
    n->self = config->self;
    n->on_note = on_note;
    n->note_user = user;
    n->names = xcalloc(n->peers, sizeof *n->names);
    for (size_t i = 0; i < n->peers; i++)
        strncpy(n->names[i], config->names[i], sizeof n->names[i] - 1);
    n->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (n->wake < 0)
        FAIL(ERR_NET, "make an eventfd: %s", strerror(errno));
    TRY(gossip_new(&n->gossip, config));
    TRY(net_sockets_open(&n->sockets, config, addresses));
    net_list_push(
        &n->events,
        net_item_event(&(gossip_event_t){.kind = GOSSIP_EV_START, .values = values}, n->floats));
    net_io_wake(n);
    TRY(net_io_start(n));
    *net = n;
    n = NULL;
out:
    gossip_net_destroy(&n);
    return err;
}

void gossip_net_destroy(gossip_net_t **net)
{
    gossip_net_t *n = *net;
    if (!n)
        return;
    net_io_stop(n);
    net_sockets_close(&n->sockets);
    net_list_clear(&n->events);
    net_list_clear(&n->outbox);
    net_item_free(n->handed);
    gossip_destroy(&n->gossip);
    gossip_actions_free(&n->actions);
    if (n->wake >= 0)
        close(n->wake);
    pthread_mutex_destroy(&n->lock);
    pthread_cond_destroy(&n->news);
    free(n->poll);
    free(n->names);
    free(n);
    *net = NULL;
}

static struct timespec after_ms(int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

bool gossip_net_next(gossip_net_t *net, gossip_action_t *action, int timeout_ms)
{
    struct timespec until = after_ms(timeout_ms);
    pthread_mutex_lock(&net->lock);
    net_item_free(net->handed);
    net->handed = NULL;
    int status = 0;
    while (!net->outbox.first && !status)
        status = pthread_cond_timedwait(&net->news, &net->lock, &until);
    net->handed = net_list_pop(&net->outbox);
    if (net->handed)
        *action = net->handed->action;
    bool got = net->handed != NULL;
    pthread_mutex_unlock(&net->lock);
    return got;
}

void gossip_net_give(gossip_net_t *net, const gossip_event_t *event)
{
    net_item_t *item = net_item_event(event, net->floats);
    pthread_mutex_lock(&net->lock);
    net_list_push(&net->events, item);
    pthread_mutex_unlock(&net->lock);
    net_io_wake(net);
}

void gossip_net_status(gossip_net_t *net, gossip_status_t *status)
{
    pthread_mutex_lock(&net->lock);
    gossip_status(net->gossip, status);
    pthread_mutex_unlock(&net->lock);
}

gossip_life_t gossip_net_life(gossip_net_t *net, size_t peer)
{
    pthread_mutex_lock(&net->lock);
    gossip_life_t life = gossip_life(net->gossip, peer);
    pthread_mutex_unlock(&net->lock);
    return life;
}

uint64_t gossip_net_counter(gossip_net_t *net, gossip_counter_t counter)
{
    pthread_mutex_lock(&net->lock);
    uint64_t value = gossip_counter(net->gossip, counter);
    if (counter == GOSSIP_COUNT_FRAMES_BAD)
        value += net->bad;
    if (counter == GOSSIP_COUNT_FRAMES_FOREIGN)
        value += net->foreign;
    pthread_mutex_unlock(&net->lock);
    return value;
}

void gossip_net_bytes(gossip_net_t *net, uint64_t *sent, uint64_t *received)
{
    struct timespec until = after_ms(BYTES_MS);
    pthread_mutex_lock(&net->lock);
    uint64_t taken = net->samples_taken;
    net->sample_now = true;
    net_io_wake(net);
    int status = 0;
    while (net->samples_taken == taken && !status)
        status = pthread_cond_timedwait(&net->news, &net->lock, &until);
    *sent = net->sent;
    *received = net->received;
    pthread_mutex_unlock(&net->lock);
}
