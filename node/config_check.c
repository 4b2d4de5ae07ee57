/* node/config_check.c: what a draft means, and whether it goes together. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/text.h"
#include "node/config_table.h"

/* Where a key was written, or the file where it was not. */
static err_t fail_key(const config_draft_t *draft, const char *name, const char *what)
{
    const config_place_t *place = &draft->places[config_find(name) - config_keys];
    if (!place->line)
        return err_set(ERR_CONFIG, "%s: %s: %s", draft->config.path, name, what);
    return config_fail_at(place, name, "%s", what);
}

#define FAIL_KEY(name, ...)                                                                        \
    do {                                                                                           \
        char what_[768];                                                                           \
        snprintf(what_, sizeof what_, __VA_ARGS__);                                                \
        TRY(fail_key(draft, (name), what_));                                                       \
    } while (0)

/* Where an entry of the list of peers begins. */
static err_t fail_peer(const config_draft_t *draft, size_t peer, const char *what)
{
    return config_fail_at(&draft->peer_places[peer], "peers", "%s", what);
}

#define FAIL_PEER(peer, ...)                                                                       \
    do {                                                                                           \
        char what_[768];                                                                           \
        snprintf(what_, sizeof what_, __VA_ARGS__);                                                \
        TRY(fail_peer(draft, (peer), what_));                                                      \
    } while (0)

static bool is_loopback(const char *host)
{
    unsigned a, b, c, d;
    char end;
    if (!strcasecmp(host, "localhost") || !strcmp(host, "::1"))
        return true;
    return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &end) == 4 && a == 127 && b < 256 &&
           c < 256 && d < 256;
}

/* p1, p2, ... from peers: {count, host, base_port} */
static err_t make_peers(config_draft_t *draft)
{
    err_t err = ERR_OK;
    size_t count = draft->peers_count;
    size_t last = draft->peers_base_port + GOSSIP_PORTS * count - 1;
    if (last > UINT16_MAX)
        FAIL_KEY("peers.base_port",
                 "%zu peers with %d ports each end at port %zu; the highest is "
                 "65535, so at most %zu is possible here",
                 count, GOSSIP_PORTS, last, UINT16_MAX + 1 - GOSSIP_PORTS * count);
    draft->config.peers = xcalloc(count, sizeof *draft->config.peers);
    draft->config.peer_count = count;
    for (size_t i = 0; i < count; i++) {
        node_peer_t *peer = &draft->config.peers[i];
        snprintf(peer->name, sizeof peer->name, "p%zu", i + 1);
        memcpy(peer->address.host, draft->peers_host, sizeof peer->address.host);
        peer->address.port = (uint16_t)(draft->peers_base_port + GOSSIP_PORTS * i);
    }
out:
    return err;
}

/* Two peers of a list against each other. */
static err_t check_pair(const config_draft_t *draft, size_t i, size_t k)
{
    err_t err = ERR_OK;
    const node_peer_t *a = &draft->config.peers[i], *b = &draft->config.peers[k];
    int apart = abs((int)a->address.port - (int)b->address.port);
    bool same_host = !strcasecmp(a->address.host, b->address.host) ||
                     (is_loopback(a->address.host) && is_loopback(b->address.host));
    if (!strcmp(a->name, b->name))
        FAIL_PEER(k, "%s is the name of two peers; give each its own", b->name);
    const char *bind_a = *a->address.bind_host ? a->address.bind_host : a->address.host;
    const char *bind_b = *b->address.bind_host ? b->address.bind_host : b->address.host;
    int port_a = a->address.bind_port ? a->address.bind_port : a->address.port;
    int port_b = b->address.bind_port ? b->address.bind_port : b->address.port;
    bool binds_here = !strcasecmp(bind_a, bind_b) || (is_loopback(bind_a) && is_loopback(bind_b));
    if (same_host && binds_here && abs(port_a - port_b) < GOSSIP_PORTS && apart >= GOSSIP_PORTS)
        FAIL_PEER(k, "%s listens on ports from %d and %s from %d; a peer takes %d ports in a row",
                  b->name, port_b, a->name, port_a, GOSSIP_PORTS);
    if (same_host && apart < GOSSIP_PORTS)
        FAIL_PEER(k,
                  "port %u of %s overlaps with port %u of %s on %s; a peer takes %d ports in a "
                  "row",
                  b->address.port, b->name, a->address.port, a->name, a->address.host,
                  GOSSIP_PORTS);
    if (!a->data != !b->data)
        FAIL_PEER(k, "%s names data of its own and %s does not; all peers do, or none",
                  a->data ? a->name : b->name, a->data ? b->name : a->name);
out:
    return err;
}

static err_t check_peers(config_draft_t *draft)
{
    static const char *const taken[] = {"quantized", "config.yaml", "summary.json",
                                        "consensus.safetensors"};
    err_t err = ERR_OK;
    size_t count = draft->config.peer_count;
    if (count < 2 && count)
        FAIL_PEER(0, "%s is alone; gossip needs at least two peers", draft->config.peers[0].name);
    if (count < 2)
        FAIL(ERR_CONFIG, "%s: peers: the list is empty; gossip needs at least two peers",
             draft->config.path);
    for (size_t i = 0; i < count; i++) {
        const node_peer_t *peer = &draft->config.peers[i];
        for (size_t t = 0; t < sizeof taken / sizeof taken[0]; t++)
            if (!strcmp(peer->name, taken[t]))
                FAIL_PEER(i, "a peer cannot be called %s: the run folder has a file of that name",
                          taken[t]);
        if (!strcmp(peer->address.host, "0.0.0.0") || !strcmp(peer->address.host, "::"))
            FAIL_PEER(i,
                      "%s cannot be reached at %s; give the address that others see as host, "
                      "and %s as bind_host",
                      peer->name, peer->address.host, peer->address.host);
        for (size_t k = 0; k < i; k++)
            TRY(check_pair(draft, k, i));
    }
out:
    return err;
}

static err_t check_security(const config_draft_t *draft)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < draft->config.peer_count && !draft->config.security_plain; i++) {
        const node_peer_t *peer = &draft->config.peers[i];
        const char *bind = peer->address.bind_host;
        const char *open = !is_loopback(peer->address.host) ? peer->address.host
                           : *bind && !is_loopback(bind)    ? bind
                                                            : NULL;
        if (open)
            FAIL_KEY("security",
                     "peer %s is at %s, outside this machine, and models travel "
                     "unencrypted; write `security: plain` if the network may be "
                     "trusted",
                     peer->name, open);
    }
out:
    return err;
}

/* A peer by name, or by its index from 0. */
static bool find_peer(uint32_t *index, const node_config_t *config, const char *text)
{
    uint64_t number;
    for (size_t i = 0; i < config->peer_count; i++)
        if (!strcmp(config->peers[i].name, text)) {
            *index = (uint32_t)i;
            return true;
        }
    if (!text_to_u64(&number, text) || number >= config->peer_count)
        return false;
    *index = (uint32_t)number;
    return true;
}

static err_t make_edges(config_draft_t *draft)
{
    err_t err = ERR_OK;
    node_config_t *config = &draft->config;
    config->gossip.edges = xcalloc(config->gossip.edge_count, sizeof *config->gossip.edges);
    for (size_t i = 0; i < 2 * config->gossip.edge_count; i++) {
        gossip_edge_t *edge = &config->gossip.edges[i / 2];
        char shown[64];
        text_printable(shown, sizeof shown, draft->edge_names[i], strlen(draft->edge_names[i]));
        if (!find_peer(i % 2 ? &edge->b : &edge->a, config, draft->edge_names[i]))
            TRY(config_fail_at(&draft->edge_places[i / 2], "gossip.topology",
                               "no peer is called \"%s\"; the %zu peers are %s to %s", shown,
                               config->peer_count, config->peers[0].name,
                               config->peers[config->peer_count - 1].name));
    }
out:
    return err;
}

static int by_ends(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right; /* lower end, upper end, position */
    for (int i = 0; i < 3; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

/* A pair of one peer, or a pair that is there already: found here, where names and lines are. */
static err_t check_edges(const config_draft_t *draft)
{
    err_t err = ERR_OK;
    const node_config_t *config = &draft->config;
    size_t count = config->gossip.edge_count;
    uint32_t(*sorted)[3] = xcalloc(count, sizeof *sorted);
    for (size_t i = 0; i < count; i++) {
        uint32_t a = config->gossip.edges[i].a, b = config->gossip.edges[i].b;
        if (a == b)
            TRY(config_fail_at(&draft->edge_places[i], "gossip.topology",
                               "%s is paired with itself; a pair is of two peers",
                               config->peers[a].name));
        sorted[i][0] = a < b ? a : b;
        sorted[i][1] = a < b ? b : a;
        sorted[i][2] = (uint32_t)i;
    }
    qsort(sorted, count, sizeof *sorted, by_ends);
    for (size_t i = 1; i < count; i++)
        if (sorted[i][0] == sorted[i - 1][0] && sorted[i][1] == sorted[i - 1][1])
            TRY(config_fail_at(&draft->edge_places[sorted[i][2]], "gossip.topology",
                               "%s and %s are paired twice; keep one",
                               config->peers[sorted[i][0]].name, config->peers[sorted[i][1]].name));
out:
    free(sorted);
    return err;
}

/* A peer that no path leads to from the first one; 0 when there is none. */
static size_t cut_off(const node_config_t *config)
{
    size_t count = config->peer_count, found = 0;
    uint32_t *piece = xcalloc(count, sizeof *piece); /* lowest peer known to be joined with */
    for (size_t i = 0; i < count; i++)
        piece[i] = (uint32_t)i;
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < config->gossip.edge_count; i++) {
            uint32_t *a = &piece[config->gossip.edges[i].a], *b = &piece[config->gossip.edges[i].b];
            changed = changed || *a != *b;
            *a = *b = *a < *b ? *a : *b;
        }
    }
    for (size_t i = 0; i < count && !found; i++)
        found = piece[i] ? i : 0;
    free(piece);
    return found;
}

/* The graph itself: gossip knows what can work. */
static err_t check_graph(config_draft_t *draft)
{
    err_t err = ERR_OK;
    gossip_graph_t graph = {0};
    TRY(make_edges(draft));
    TRY(check_edges(draft));
    size_t alone = draft->config.gossip.topology == GOSSIP_EDGES ? cut_off(&draft->config) : 0;
    if (alone)
        FAIL_KEY("gossip.topology", "no path leads from %s to %s; add a pair that joins them",
                 draft->config.peers[0].name, draft->config.peers[alone].name);
    if (gossip_graph_init(&graph, draft->config.gossip.topology, draft->config.peer_count,
                          draft->config.gossip.edges, draft->config.gossip.edge_count)) {
        char why[600];
        snprintf(why, sizeof why, "%s", err_message());
        FAIL_KEY("gossip.topology", "%s", why);
    }
out:
    gossip_graph_free(&graph);
    return err;
}

static err_t check_data(config_draft_t *draft)
{
    err_t err = ERR_OK;
    const node_config_t *config = &draft->config;
    bool own = node_config_own_data(config), synthetic = !strcmp(config->data.source, "synthetic");
    if (own && config->data.root)
        FAIL_KEY("data.root",
                 "every peer names data of its own; remove data.root, or peers[].data");
    if (!own && synthetic && config->data.root)
        FAIL_KEY("data.root",
                 "synthetic pictures come from no folder; set data.source to folder or "
                 "cifar10, or remove data.root");
    if (!own && !synthetic && !config->data.root)
        FAIL_KEY("data.root",
                 "data.source: %s needs the folder where the pictures are; set "
                 "data.root, such as --set data.root=DIR",
                 config->data.source);
out:
    return err;
}

static err_t check_times(config_draft_t *draft)
{
    err_t err = ERR_OK;
    const node_config_t *c = &draft->config;
    if (c->gossip.deadline == GOSSIP_DEADLINE_ADAPTIVE &&
        c->gossip.deadline_floor_s > c->gossip.deadline_ceiling_s)
        FAIL_KEY("gossip.deadline_floor_s",
                 "%g is above gossip.deadline_ceiling_s, %g; the floor "
                 "is the lower one",
                 c->gossip.deadline_floor_s, c->gossip.deadline_ceiling_s);
    if (c->gossip.suspect_s <= c->gossip.announce_s)
        FAIL_KEY("gossip.suspect_s",
                 "%g is not above gossip.announce_s, %g; peers would suspect "
                 "each other between two announcements",
                 c->gossip.suspect_s, c->gossip.announce_s);
    if (c->gossip.dead_s <= c->gossip.suspect_s)
        FAIL_KEY("gossip.dead_s",
                 "%g is not above gossip.suspect_s, %g; a peer is suspected before "
                 "it is taken for dead",
                 c->gossip.dead_s, c->gossip.suspect_s);
out:
    return err;
}

/* train.gamma where nobody wrote it: what a run keeps of its configuration has it, too. */
static const double GAMMA = 0.1;

/* What goes together of the optimizer's and the schedule's keys. */
static err_t check_training(config_draft_t *draft)
{
    err_t err = ERR_OK;
    node_config_t *c = &draft->config;
    const nn_optimizer_t *o = &c->train.optimizer;
    nn_schedule_t *s = &c->train.schedule;
    const double epochs = node_config_epochs(c);
    s->lr = (double)o->lr;
    if (c->freeze == NODE_FREEZE_FEATURES && !c->init)
        FAIL_KEY("model.freeze", "features drawn at random would stay random: set model.init");
    if (o->nesterov && (o->kind != NN_SGD || o->momentum == 0))
        FAIL_KEY("train.nesterov",
                 "Nesterov's momentum needs train.optimizer: sgd and a train.momentum above 0");
    if (c->train.epoch_rounds > 1 && c->train.local_epochs > 1)
        FAIL_KEY("train.epoch_rounds",
                 "%zu rounds a pass and %zu passes a round (train.local_epochs): one of them must "
                 "be 1",
                 c->train.epoch_rounds, c->train.local_epochs);
    if (c->train.quantization_aware_rounds > c->rounds)
        FAIL_KEY("train.quantization_aware_rounds", "%u: the run has %u rounds",
                 c->train.quantization_aware_rounds, c->rounds);
    if (c->train.quantization_aware_rounds == c->rounds && c->rounds > 0 && !c->init)
        FAIL_KEY("train.quantization_aware_rounds",
                 "%u are all rounds of the run, and a model drawn at random has to learn in others "
                 "first: lower it, or set model.init",
                 c->train.quantization_aware_rounds);
    if (c->train.quantization_aware_rounds && c->freeze == NODE_FREEZE_FEATURES)
        FAIL_KEY("train.quantization_aware_rounds",
                 "what is rounded has to learn, and model.freeze: features keeps it as it is");
    if (c->train.quantization_aware_rounds && c->time_limit_s > 0)
        FAIL_KEY("train.quantization_aware_rounds",
                 "these are the last of %u rounds, and a run that time_limit_s: %g ends early "
                 "never comes to them: leave one of the two out",
                 c->rounds, c->time_limit_s);
    if (s->kind == NN_SCHEDULE_STEP && !s->milestone_count && !s->every_epochs)
        FAIL_KEY("train.schedule",
                 "step needs train.milestones or train.every_epochs to know when");
    if (s->kind != NN_SCHEDULE_STEP && (s->milestone_count || s->every_epochs))
        FAIL_KEY(s->milestone_count ? "train.milestones" : "train.every_epochs",
                 "only train.schedule: step follows it");
    if (s->kind != NN_SCHEDULE_STEP && s->gamma != GAMMA)
        FAIL_KEY("train.gamma", "only train.schedule: step follows it");
    if (s->kind != NN_SCHEDULE_COSINE && s->lr_min > 0)
        FAIL_KEY("train.lr_min", "only train.schedule: cosine follows it");
    if (s->lr_min > s->lr)
        FAIL_KEY("train.lr_min", "%g is above train.lr, %g", s->lr_min, s->lr);
    if (s->kind == NN_SCHEDULE_COSINE && s->warmup_epochs >= epochs)
        FAIL_KEY("train.warmup_epochs",
                 "%g leave nothing for the cosine: the run has %g epochs; raise rounds or lower "
                 "train.warmup_epochs",
                 s->warmup_epochs, epochs);
    if (s->warmup_epochs > 0 && s->warmup_epochs >= epochs)
        FAIL_KEY("train.warmup_epochs",
                 "%g leave nothing of the run, which has %g epochs; raise rounds or lower "
                 "train.warmup_epochs",
                 s->warmup_epochs, epochs);
out:
    return err;
}

/* Whether the network can be built; its classes may only be known with the data. */
static err_t check_model(config_draft_t *draft)
{
    err_t err = ERR_OK;
    nn_net_t *net = NULL;
    nn_arch_t arch = draft->config.model;
    arch.classes = draft->config.class_count ? draft->config.class_count : 10;
    if (nn_net_new(&net, &arch)) {
        char why[600];
        snprintf(why, sizeof why, "%s", err_message());
        const char *key = !strncmp(why, "input", 5)       ? "model.input"
                          : !strncmp(why, "strides", 7) ? "model.strides"
                                                        : "model.name";
        FAIL_KEY(key, "%s", why);
    }
out:
    nn_net_destroy(&net);
    return err;
}

err_t config_finish(config_draft_t *draft)
{
    err_t err = ERR_OK;
    node_config_t *config = &draft->config;
    char name[32];
    config_choice_name(name, config_find("data.source")->choices, draft->source);
    config->data.source = xstrdup(name);
    config->security_plain = draft->places[config_find("security") - config_keys].line > 0;
    config->train.optimizer_reset = draft->optimizer_state == 1;
    config->model.classes = config->class_count;
    if (config->gossip.deadline == GOSSIP_DEADLINE_FIXED)
        config->gossip.deadline_ceiling_s = draft->deadline_s;
    if (draft->peers_listed)
        TRY(check_peers(draft));
    else
        TRY(make_peers(draft));
    TRY(check_security(draft));
    TRY(check_graph(draft));
    TRY(check_data(draft));
    TRY(check_times(draft));
    TRY(check_training(draft));
    TRY(check_model(draft));
out:
    return err;
}

char *config_absolute(const char *path)
{
    char *folder = path[0] == '/' ? NULL : getcwd(NULL, 0);
    while (folder && path[0] == '.' && path[1] == '/')
        path += 2;
    char *whole = folder ? xasprintf("%s/%s", folder, path) : xstrdup(path);
    free(folder);
    return whole;
}

char *config_absolute_spec(const char *spec)
{
    const char *colon = strchr(spec, ':');
    if (!colon || !strncmp(spec, "synthetic:", 10))
        return xstrdup(spec);
    char *path = config_absolute(colon + 1);
    char *whole = xasprintf("%.*s:%s", (int)(colon - spec), spec, path);
    free(path);
    return whole;
}
