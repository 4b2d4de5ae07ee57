#include "gossip/net_io.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    SAMPLE_MS = 250,    /* TCP counters */
    FRAMES_A_TURN = 32, /* read from one socket before the next has its turn */
    OWN_ITEMS = 4       /* of the poll list: wake-up, control, data, repair */
};

/* -- what goes out -- */

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

/* To one peer: answers, and models of graphs that are drawn anew each exchange. */
static void send_to(gossip_net_t *net, const gossip_action_t *action)
{
    const char *name = net->names[action->to];
    if (zmq_send(net->sockets.repair, name, strlen(name), ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0)
        zmq_send(net->sockets.repair, action->bytes, action->size, ZMQ_DONTWAIT);
}

static void send_frame(gossip_net_t *net, const gossip_action_t *action)
{
    const net_link_t *link;
    switch (action->channel) {
    case GOSSIP_CONTROL:
        publish(net->sockets.control, action->bytes, action->size);
        break;
    case GOSSIP_DATA:
        if (action->to == GOSSIP_TO_ALL)
            publish(net->sockets.data, action->bytes, action->size);
        else
            send_to(net, action);
        break;
    case GOSSIP_REPAIR_ASK:
        link = link_to(net, action->to);
        if (link)
            zmq_send(link->repair, action->bytes, action->size, ZMQ_DONTWAIT);
        break;
    case GOSSIP_REPAIR_ANSWER:
        send_to(net, action);
        break;
    }
}

static void tell_note(gossip_net_t *net, const gossip_action_t *note)
{
    static const char *const events[] = {[GOSSIP_NOTE_SEEN] = "peer_seen",
                                         [GOSSIP_NOTE_SUSPECT] = "peer_silent",
                                         [GOSSIP_NOTE_DEAD] = "peer_dead",
                                         [GOSSIP_NOTE_BACK] = "peer_back",
                                         [GOSSIP_NOTE_LEFT] = "peer_left",
                                         [GOSSIP_NOTE_LATE] = "peer_late",
                                         [GOSSIP_NOTE_REFUSED] = "peer_refused",
                                         [GOSSIP_NOTE_CAUGHT_UP] = "caught_up",
                                         [GOSSIP_NOTE_UNSOUND] = "model_refused",
                                         [GOSSIP_NOTE_FAR] = "consensus_far",
                                         [GOSSIP_NOTE_PROBATION] = "peer_on_probation",
                                         [GOSSIP_NOTE_PHASE] = "phase"};
    bool trouble = note->note == GOSSIP_NOTE_DEAD || note->note == GOSSIP_NOTE_REFUSED ||
                   note->note == GOSSIP_NOTE_FAR || note->note == GOSSIP_NOTE_PROBATION;
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
        gossip_action_t *action = &net->actions.items[i];
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
            action->step_s = step_s;
            net_list_push(&net->outbox, net_item_action(action, net->floats));
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

/* -- the thread -- */

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
    net_item_t *item;
    uint64_t ignored;
    if (net->poll[0].revents && read(net->wake, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
        return false;
    pthread_mutex_lock(&net->lock);
    while ((item = net_list_pop(&net->events))) {
        step(net, &item->event);
        net_item_free(item);
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

err_t net_io_start(gossip_net_t *net)
{
    err_t err = ERR_OK;
    sigset_t all, before;
    make_poll_list(net);
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

void net_io_wake(gossip_net_t *net)
{
    uint64_t one = 1;
    while (write(net->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void net_io_stop(gossip_net_t *net)
{
    if (!net->running)
        return;
    pthread_mutex_lock(&net->lock);
    net->stop = true;
    pthread_mutex_unlock(&net->lock);
    net_io_wake(net);
    pthread_join(net->thread, NULL);
    net->running = false;
}
