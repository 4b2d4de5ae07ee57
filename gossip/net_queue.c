#include "gossip/net_queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

void net_item_free(net_item_t *item)
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

void net_list_init(net_list_t *list)
{
    list->first = NULL;
    list->end = &list->first;
}

void net_list_push(net_list_t *list, net_item_t *item)
{
    *list->end = item;
    list->end = &item->next;
}

net_item_t *net_list_pop(net_list_t *list)
{
    net_item_t *item = list->first;
    if (item) {
        list->first = item->next;
        item->next = NULL;
        if (!list->first)
            list->end = &list->first;
    }
    return item;
}

void net_list_clear(net_list_t *list)
{
    net_item_t *item;
    while ((item = net_list_pop(list)))
        net_item_free(item);
}

static void *copy_of(const void *data, size_t size)
{
    void *copy = xcalloc(1, size);
    memcpy(copy, data, size);
    return copy;
}

net_item_t *net_item_event(const gossip_event_t *event, size_t floats)
{
    net_item_t *item = xcalloc(1, sizeof *item);
    item->event = *event;
    if (event->values)
        item->event.values = item->values = copy_of(event->values, floats * sizeof *event->values);
    if (event->bytes)
        item->event.bytes = item->bytes = copy_of(event->bytes, event->size);
    return item;
}

net_item_t *net_item_action(const gossip_action_t *action, size_t floats)
{
    net_item_t *item = xcalloc(1, sizeof *item);
    item->action = *action;
    if (action->values)
        item->action.values = item->values =
            copy_of(action->values, floats * sizeof *action->values);
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
