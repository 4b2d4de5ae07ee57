/* The list of actions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/state.h"

void gossip_actions_clear(gossip_actions_t *actions)
{
    for (size_t i = 0; i < actions->count; i++)
        free(actions->items[i].bytes);
    actions->count = 0;
}

void gossip_actions_free(gossip_actions_t *actions)
{
    gossip_actions_clear(actions);
    free(actions->items);
    *actions = (gossip_actions_t){0};
}

gossip_action_t *act(gossip_t *g, gossip_action_kind_t kind)
{
    gossip_actions_t *out = g->out;
    if (out->count == out->capacity) {
        out->capacity = out->capacity ? 2 * out->capacity : 16;
        out->items = xrealloc(out->items, out->capacity, sizeof *out->items);
    }
    gossip_action_t *action = &out->items[out->count++];
    *action = (gossip_action_t){.kind = kind};
    return action;
}

void act_send(gossip_t *g, gossip_channel_t channel, size_t to, uint8_t *bytes, size_t size)
{
    if (!bytes) /* no memory for a frame is a lost frame: repair mends it */
        return;
    gossip_action_t *action = act(g, GOSSIP_ACT_SEND);
    action->channel = channel;
    action->to = to;
    action->bytes = bytes;
    action->size = size;
}

void act_note(gossip_t *g, gossip_note_t note, size_t peer, uint32_t round, const char *text)
{
    gossip_action_t *action = act(g, GOSSIP_ACT_NOTE);
    action->note = note;
    action->peer = peer;
    action->round = round;
    snprintf(action->text, sizeof action->text, "%s", text);
}
