#include "gossip/net.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/log.h"
#include "gossip/net_sockets.h"

enum {
    SAMPLE_MS = 250,    /* TCP counters */
    BYTES_MS = 1000,    /* patience of who asks for them */
    FRAMES_A_TURN = 32, /* read from one socket before the next has its turn */
    OWN_ITEMS = 4       /* of the poll list: wake-up, control, data, repair */
};

/* Events to the protocol and actions to the node wait in lists, with copies of what they point to.
 */
typedef struct item_s {
    struct item_s *next;
    gossip_event_t event;
    gossip_action_t action;
    float *values;            /* owned, NULL */
    uint8_t *bytes;           /* owned, NULL */
    gossip_record_t *records; /* owned with their bytes, NULL */
} item_t;

typedef struct {
    item_t *first, **end;
} list_t;

struct gossip_net_s {
    gossip_t *gossip;
    net_sockets_t sockets;
    size_t floats, peers, self;
    char (*names)[GOSSIP_NAME_MAX]; /* (peers), owned */
    pthread_t thread;
    bool running;
    int wake;             /* eventfd: something for the I/O thread */
    zmq_pollitem_t *poll; /* OWN_ITEMS, then 3 a link */
    gossip_actions_t actions;
    int64_t tick_ms, sample_ms; /* when they are due; tick INT64_MAX: none */

    pthread_mutex_t lock; /* all below, and gossip_step against those who look in */
    pthread_cond_t news;  /* an action for the node */
    list_t events, outbox;
    item_t *handed; /* the action that the node looks at */
    bool stop, sample_now;
    uint64_t samples_taken;
    uint64_t sent, received;
    uint64_t foreign, bad; /* frames that never reached the protocol */
    gossip_note_fn *on_note;
    void *note_user;
};

/* -- lists -- */

static void item_free(item_t *item)
{
    if (!item)
        return;
    for (size_t i = 0; item->records && i < item->action.record_count; i++)
        free((void *)(uintptr_t)item->records[i].bytes);
    free(item->records);
    free(item->values);
    free(item->bytes);
    free(item);
}

static void push(list_t *list, item_t *item)
{
    *list->end = item;
    list->end = &item->next;
}

static item_t *pop(list_t *list)
{
    item_t *item = list->first;
    if (item) {
        list->first = item->next;
        item->next = NULL;
        if (!list->first)
            list->end = &list->first;
    }
    return item;
}

static void *copy_of(const void *data, size_t size)
{
    void *copy = xcalloc(1, size);
    memcpy(copy, data, size);
    return copy;
}

static item_t *event_item(const gossip_net_t *net, const gossip_event_t *event)
{
    item_t *item = xcalloc(1, sizeof *item);
    item->event = *event;
    if (event->values)
        item->event.values = item->values =
            copy_of(event->values, net->floats * sizeof *event->values);
    if (event->bytes)
        item->event.bytes = item->bytes = copy_of(event->bytes, event->size);
    return item;
}

static item_t *action_item(const gossip_net_t *net, const gossip_action_t *action, double step_s)
{
    item_t *item = xcalloc(1, sizeof *item);
    item->action = *action;
    item->action.step_s = step_s;
    if (action->values)
        item->action.values = item->values =
            copy_of(action->values, net->floats * sizeof *action->values);
    if (action->record_count) {
        item->records = xcalloc(action->record_count, sizeof *item->records);
        for (size_t i = 0; i < action->record_count; i++) {
            item->records[i] = action->records[i];
            item->records[i].bytes = copy_of(action->records[i].bytes, action->records[i].size);
        }
        item->action.records = item->records;
    }
    return item;
}

/* -- actions -- */

/* A frame that cannot go now is dropped: announcements come again, chunks are asked for again. */
static void publish(void *xpub, const uint8_t *bytes, size_t size)
{
    zmq_msg_t frame;
    if (zmq_msg_init_size(&frame, NET_TOPIC_BYTES + size))
        return;
    memcpy(zmq_msg_data(&frame), NET_TOPIC, NET_TOPIC_BYTES);
    memcpy((uint8_t *)zmq_msg_data(&frame) + NET_TOPIC_BYTES, bytes, size);
    if (zmq_msg_send(&frame, xpub, ZMQ_DONTWAIT) < 0)
        zmq_msg_close(&frame);
}

static net_link_t *link_to(gossip_net_t *net, size_t peer)
{
    for (size_t i = 0; i < net->sockets.link_count; i++)
        if (net->sockets.links[i].peer == peer)
            return &net->sockets.links[i];
    return NULL;
}

static void send_frame(gossip_net_t *net, const gossip_action_t *action)
{
    const net_link_t *link;
    switch (action->channel) {
    case GOSSIP_CONTROL:
        publish(net->sockets.control, action->bytes, action->size);
        break;
    case GOSSIP_DATA:
        publish(net->sockets.data, action->bytes, action->size);
        break;
    case GOSSIP_REPAIR_ASK:
        link = link_to(net, action->to);
        if (link)
            zmq_send(link->repair, action->bytes, action->size, ZMQ_DONTWAIT);
        break;
    case GOSSIP_REPAIR_ANSWER: {
        const char *name = net->names[action->to];
        if (zmq_send(net->sockets.repair, name, strlen(name), ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0)
            zmq_send(net->sockets.repair, action->bytes, action->size, ZMQ_DONTWAIT);
        break;
    }
    }
}

static void tell_note(gossip_net_t *net, const gossip_action_t *note)
{
    static const char *const events[] = {
        [GOSSIP_NOTE_SEEN] = "peer_seen",       [GOSSIP_NOTE_SUSPECT] = "peer_silent",
        [GOSSIP_NOTE_DEAD] = "peer_dead",       [GOSSIP_NOTE_BACK] = "peer_back",
        [GOSSIP_NOTE_LEFT] = "peer_left",       [GOSSIP_NOTE_LATE] = "peer_late",
        [GOSSIP_NOTE_REFUSED] = "peer_refused", [GOSSIP_NOTE_CAUGHT_UP] = "caught_up",
        [GOSSIP_NOTE_PHASE] = "phase"};
    bool trouble = note->note == GOSSIP_NOTE_DEAD || note->note == GOSSIP_NOTE_REFUSED;
    if (trouble)
        log_warn(events[note->note], "peer=%s text=\"%s\"", net->names[note->peer], note->text);
    else
        log_info(events[note->note], "peer=%s text=\"%s\"", net->names[note->peer], note->text);
    if (net->on_note)
        net->on_note(net->note_user, note);
}

/* Steps the protocol and does what it wants done. Called with the lock held. */
static void step(gossip_net_t *net, gossip_event_t *event)
{
    double started_s = clock_monotonic_s();
    event->now_ms = clock_monotonic_ms();
    gossip_step(net->gossip, event, &net->actions);
    double step_s = clock_monotonic_s() - started_s;
    for (size_t i = 0; i < net->actions.count; i++) {
        const gossip_action_t *action = &net->actions.items[i];
        switch (action->kind) {
        case GOSSIP_ACT_SEND:
            send_frame(net, action);
            break;
        case GOSSIP_ACT_WAKE:
            net->tick_ms = action->at_ms;
            break;
        case GOSSIP_ACT_NOTE:
            tell_note(net, action);
            break;
        default:
            push(&net->outbox, action_item(net, action, step_s));
            pthread_cond_broadcast(&net->news);
            break;
        }
    }
    gossip_actions_clear(&net->actions);
}

/* -- what comes in -- */

static void hear(gossip_net_t *net, size_t from, gossip_channel_t channel, const void *bytes,
                 size_t size)
{
    gossip_event_t event = {
        .kind = GOSSIP_EV_FRAME, .from = from, .channel = channel, .bytes = bytes, .size = size};
    pthread_mutex_lock(&net->lock);
    step(net, &event);
    pthread_mutex_unlock(&net->lock);
}

static void count_one(gossip_net_t *net, uint64_t *counter)
{
    pthread_mutex_lock(&net->lock);
    (*counter)++;
    pthread_mutex_unlock(&net->lock);
}

/* From a neighbour's own socket; `skip` bytes of topic stand ahead of a published frame. */
static void read_link(gossip_net_t *net, void *socket, size_t peer, gossip_channel_t channel,
                      size_t skip)
{
    for (int i = 0; i < FRAMES_A_TURN; i++) {
        bool bad = false;
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        bool got = net_receive(&frame, socket, &bad);
        if (got && (bad || zmq_msg_size(&frame) < skip))
            count_one(net, &net->bad);
        else if (got)
            hear(net, peer, channel, (uint8_t *)zmq_msg_data(&frame) + skip,
                 zmq_msg_size(&frame) - skip);
        zmq_msg_close(&frame);
        if (!got)
            return;
    }
}

/* The neighbour whose name a ROUTER's identity frame holds, or SIZE_MAX. Identities are claims:
 * this keeps peers apart, not impostors out. */
static size_t neighbour_named(gossip_net_t *net, const void *name, size_t size)
{
    for (size_t i = 0; i < net->sockets.link_count; i++) {
        size_t peer = net->sockets.links[i].peer;
        if (strlen(net->names[peer]) == size && !memcmp(net->names[peer], name, size))
            return peer;
    }
    return SIZE_MAX;
}

static void read_router(gossip_net_t *net)
{
    for (int i = 0; i < FRAMES_A_TURN; i++) {
        bool bad = true;
        int more = 0;
        size_t more_size = sizeof more;
        zmq_msg_t identity, frame;
        zmq_msg_init(&identity);
        zmq_msg_init(&frame);
        bool got = zmq_msg_recv(&identity, net->sockets.repair, ZMQ_DONTWAIT) >= 0;
        if (got && !zmq_getsockopt(net->sockets.repair, ZMQ_RCVMORE, &more, &more_size) && more)
            net_receive(&frame, net->sockets.repair, &bad);
        size_t peer = neighbour_named(net, zmq_msg_data(&identity), zmq_msg_size(&identity));
        if (got && bad)
            count_one(net, &net->bad);
        else if (got && peer == SIZE_MAX)
            count_one(net, &net->foreign);
        else if (got)
            hear(net, peer, GOSSIP_REPAIR_ASK, zmq_msg_data(&frame), zmq_msg_size(&frame));
        zmq_msg_close(&identity);
        zmq_msg_close(&frame);
        if (!got)
            return;
    }
}

static void read_sockets(gossip_net_t *net)
{
    for (int i = 1; i <= 2; i++)
        if (net->poll[i].revents)
            for (int k = 0; k < FRAMES_A_TURN && net_accept_subscription(net->poll[i].socket); k++)
                ;
    if (net->poll[3].revents)
        read_router(net);
    for (size_t i = 0; i < net->sockets.link_count; i++) {
        const net_link_t *link = &net->sockets.links[i];
        const zmq_pollitem_t *item = &net->poll[OWN_ITEMS + 3 * i];
        if (item[0].revents)
            read_link(net, link->control, link->peer, GOSSIP_CONTROL, NET_TOPIC_BYTES);
        if (item[1].revents)
            read_link(net, link->data, link->peer, GOSSIP_DATA, NET_TOPIC_BYTES);
        if (item[2].revents)
            read_link(net, link->repair, link->peer, GOSSIP_REPAIR_ANSWER, 0);
    }
}

/* -- the I/O thread -- */

static void make_poll_list(gossip_net_t *net)
{
    net->poll = xcalloc(OWN_ITEMS + 3 * net->sockets.link_count, sizeof *net->poll);
    net->poll[0] = (zmq_pollitem_t){.fd = net->wake, .events = ZMQ_POLLIN};
    net->poll[1] = (zmq_pollitem_t){.socket = net->sockets.control, .events = ZMQ_POLLIN};
    net->poll[2] = (zmq_pollitem_t){.socket = net->sockets.data, .events = ZMQ_POLLIN};
    net->poll[3] = (zmq_pollitem_t){.socket = net->sockets.repair, .events = ZMQ_POLLIN};
    for (size_t i = 0; i < net->sockets.link_count; i++) {
        zmq_pollitem_t *item = &net->poll[OWN_ITEMS + 3 * i];
        item[0] = (zmq_pollitem_t){.socket = net->sockets.links[i].control, .events = ZMQ_POLLIN};
        item[1] = (zmq_pollitem_t){.socket = net->sockets.links[i].data, .events = ZMQ_POLLIN};
        item[2] = (zmq_pollitem_t){.socket = net->sockets.links[i].repair, .events = ZMQ_POLLIN};
    }
}

static void sample(gossip_net_t *net)
{
    uint64_t sent, received;
    net_tcp_sample(net->sockets.tcp);
    net_tcp_totals(net->sockets.tcp, &sent, &received);
    net->sample_ms = clock_monotonic_ms() + SAMPLE_MS;
    pthread_mutex_lock(&net->lock);
    net->sent = sent;
    net->received = received;
    net->sample_now = false;
    net->samples_taken++;
    pthread_cond_broadcast(&net->news);
    pthread_mutex_unlock(&net->lock);
}

/* Events from the node, and the tick when it is due. False when it is time to end. */
static bool take_turn(gossip_net_t *net)
{
    item_t *item;
    uint64_t ignored;
    if (net->poll[0].revents && read(net->wake, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
        return false;
    pthread_mutex_lock(&net->lock);
    while ((item = pop(&net->events))) {
        step(net, &item->event);
        item_free(item);
    }
    if (clock_monotonic_ms() >= net->tick_ms) {
        net->tick_ms = INT64_MAX;
        step(net, &(gossip_event_t){.kind = GOSSIP_EV_TICK});
    }
    bool go_on = !net->stop, sample_now = net->sample_now;
    pthread_mutex_unlock(&net->lock);
    if (sample_now || clock_monotonic_ms() >= net->sample_ms)
        sample(net);
    return go_on;
}

static void *io_thread(void *user)
{
    gossip_net_t *net = user;
    do {
        int64_t now_ms = clock_monotonic_ms();
        int64_t due_ms = net->tick_ms < net->sample_ms ? net->tick_ms : net->sample_ms;
        int64_t wait_ms = due_ms <= now_ms ? 0 : due_ms - now_ms;
        int items = (int)(OWN_ITEMS + 3 * net->sockets.link_count);
        if (zmq_poll(net->poll, items, wait_ms > SAMPLE_MS ? SAMPLE_MS : (long)wait_ms) < 0)
            for (int i = 0; i < items; i++)
                net->poll[i].revents = 0;
        read_sockets(net);
    } while (take_turn(net));
    sample(net);
    return NULL;
}

static err_t start_thread(gossip_net_t *net)
{
    err_t err = ERR_OK;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the node's thread's */
    int status = pthread_create(&net->thread, NULL, io_thread, net);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status)
        FAIL(ERR_NET, "start the I/O thread: %s", strerror(status));
    net->running = true;
out:
    return err;
}

/* -- the node's side -- */

static void wake_thread(gossip_net_t *net)
{
    uint64_t one = 1;
    while (write(net->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

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
    n->events.end = &n->events.first;
    n->outbox.end = &n->outbox.first;
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
    make_poll_list(n);
    push(&n->events, event_item(n, &(gossip_event_t){.kind = GOSSIP_EV_START, .values = values}));
    wake_thread(n);
    TRY(start_thread(n));
    *net = n;
    n = NULL;
out:
    gossip_net_destroy(&n);
    return err;
}

void gossip_net_destroy(gossip_net_t **net)
{
    gossip_net_t *n = *net;
    item_t *item;
    if (!n)
        return;
    if (n->running) {
        pthread_mutex_lock(&n->lock);
        n->stop = true;
        pthread_mutex_unlock(&n->lock);
        wake_thread(n);
        pthread_join(n->thread, NULL);
    }
    net_sockets_close(&n->sockets);
    while ((item = pop(&n->events)))
        item_free(item);
    while ((item = pop(&n->outbox)))
        item_free(item);
    item_free(n->handed);
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
    item_free(net->handed);
    net->handed = NULL;
    int status = 0;
    while (!net->outbox.first && !status)
        status = pthread_cond_timedwait(&net->news, &net->lock, &until);
    net->handed = pop(&net->outbox);
    if (net->handed)
        *action = net->handed->action;
    bool got = net->handed != NULL;
    pthread_mutex_unlock(&net->lock);
    return got;
}

void gossip_net_give(gossip_net_t *net, const gossip_event_t *event)
{
    item_t *item = event_item(net, event);
    pthread_mutex_lock(&net->lock);
    push(&net->events, item);
    pthread_mutex_unlock(&net->lock);
    wake_thread(net);
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
    wake_thread(net);
    int status = 0;
    while (net->samples_taken == taken && !status)
        status = pthread_cond_timedwait(&net->news, &net->lock, &until);
    *sent = net->sent;
    *received = net->received;
    pthread_mutex_unlock(&net->lock);
}
