/* gossip/net_queue.h: what goes between the node's thread and the I/O thread: events one way,
 * actions the other, with copies of all they point to, so that neither side waits for the other's
 * memory. Nothing here locks. */
#pragma once
#include "gossip/gossip.h"

typedef struct net_item_s {
    struct net_item_s *next;
    gossip_event_t event;
    gossip_action_t action;
    float *values;            /* owned, NULL */
    uint8_t *bytes;           /* owned, NULL */
    gossip_record_t *records; /* owned with their bytes, NULL */
} net_item_t;

typedef struct {
    net_item_t *first, **end;
} net_list_t;

void net_list_init(net_list_t *list);
/* Behind the last; takes the item. */
void net_list_push(net_list_t *list, net_item_t *item);
/* The first, which is the caller's; NULL when there is none. */
net_item_t *net_list_pop(net_list_t *list);
void net_list_clear(net_list_t *list);

/* Copies; `floats` is the number of a model's values. */
net_item_t *net_item_event(const gossip_event_t *event, size_t floats);
net_item_t *net_item_action(const gossip_action_t *action, size_t floats);
/* NULL does nothing. */
void net_item_free(net_item_t *item);
