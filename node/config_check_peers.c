/* node/config_check_peers.c: who the peers are, and whether they can be reached side by side. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "node/config_check.h"

bool config_is_loopback(const char *host)
{
    unsigned a, b, c, d;
    char end;
    if (!strcasecmp(host, "localhost") || !strcmp(host, "::1"))
        return true;
    return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &end) == 4 && a == 127 && b < 256 &&
           c < 256 && d < 256;
}

/* p1, p2, ... from peers: {count, host, base_port} */
static void make_peers(config_draft_t *draft)
{
    size_t count = draft->peers_count;
    size_t last = draft->peers_base_port + GOSSIP_PORTS * count - 1;
    if (last > UINT16_MAX) {
        config_wrong(draft, "peers.base_port",
                     "%zu peers with %d ports each end at port %zu; the highest is "
                     "65535, so at most %zu is possible here",
                     count, GOSSIP_PORTS, last, UINT16_MAX + 1 - GOSSIP_PORTS * count);
        return;
    }
    draft->config.peers = xcalloc(count, sizeof *draft->config.peers);
    draft->config.peer_count = count;
    for (size_t i = 0; i < count; i++) {
        node_peer_t *peer = &draft->config.peers[i];
        snprintf(peer->name, sizeof peer->name, "p%zu", i + 1);
        memcpy(peer->address.host, draft->peers_host, sizeof peer->address.host);
        peer->address.port = (uint16_t)(draft->peers_base_port + GOSSIP_PORTS * i);
    }
}

static bool is_any_address(const char *host)
{
    return !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
}

/* Two peers of a list against each other. */
static void check_pair(config_draft_t *draft, size_t i, size_t k)
{
    const node_peer_t *a = &draft->config.peers[i], *b = &draft->config.peers[k];
    int apart = abs((int)a->address.port - (int)b->address.port);
    bool same_host = !strcasecmp(a->address.host, b->address.host) ||
                     (config_is_loopback(a->address.host) && config_is_loopback(b->address.host));
    if (!strcmp(a->name, b->name))
        config_wrong_peer(draft, k, "%s is the name of two peers; give each its own", b->name);
    const char *bind_a = *a->address.bind_host ? a->address.bind_host : a->address.host;
    const char *bind_b = *b->address.bind_host ? b->address.bind_host : b->address.host;
    int port_a = a->address.bind_port ? a->address.bind_port : a->address.port;
    int port_b = b->address.bind_port ? b->address.bind_port : b->address.port;
    bool binds_here = !strcasecmp(bind_a, bind_b) || is_any_address(bind_a) ||
                      is_any_address(bind_b) ||
                      (config_is_loopback(bind_a) && config_is_loopback(bind_b));
    if (same_host && binds_here && abs(port_a - port_b) < GOSSIP_PORTS && apart >= GOSSIP_PORTS)
        config_wrong_peer(
            draft, k, "%s listens on ports from %d and %s from %d; a peer takes %d ports in a row",
            b->name, port_b, a->name, port_a, GOSSIP_PORTS);
    if (same_host && apart < GOSSIP_PORTS)
        config_wrong_peer(
            draft, k,
            "port %u of %s overlaps with port %u of %s on %s; a peer takes %d ports in a "
            "row",
            b->address.port, b->name, a->address.port, a->name, a->address.host, GOSSIP_PORTS);
    if (!a->data != !b->data)
        config_wrong_peer(draft, k,
                          "%s names data of its own and %s does not; all peers do, or none",
                          a->data ? a->name : b->name, a->data ? b->name : a->name);
}

static void check_peers(config_draft_t *draft)
{
    static const char *const taken[] = {"quantized", "config.yaml", "summary.json",
                                        "consensus.safetensors"};
    size_t count = draft->config.peer_count;
    if (!count)
        config_keep(draft, err_set(ERR_CONFIG,
                                   "%s: peers: the list is empty; give it peers, or one to train "
                                   "alone",
                                   draft->config.path));
    for (size_t i = 0; i < count; i++) {
        const node_peer_t *peer = &draft->config.peers[i];
        for (size_t t = 0; t < sizeof taken / sizeof taken[0]; t++)
            if (!strcmp(peer->name, taken[t]))
                config_wrong_peer(
                    draft, i, "a peer cannot be called %s: the run folder has a file of that name",
                    taken[t]);
        if (is_any_address(peer->address.host))
            config_wrong_peer(
                draft, i,
                "%s cannot be reached at %s; give the address that others see as host, "
                "and %s as bind_host",
                peer->name, peer->address.host, peer->address.host);
        size_t before = draft->findings->wrong;
        for (size_t k = 0; k < i && draft->findings->wrong == before; k++)
            check_pair(draft, k, i); /* one that is in its way is enough */
    }
}

static void check_security(config_draft_t *draft)
{
    for (size_t i = 0; i < draft->config.peer_count && !draft->config.security_plain; i++) {
        const node_peer_t *peer = &draft->config.peers[i];
        const char *bind = peer->address.bind_host;
        const char *open = !config_is_loopback(peer->address.host) ? peer->address.host
                           : *bind && !config_is_loopback(bind)    ? bind
                                                                   : NULL;
        if (!open)
            continue;
        config_wrong(draft, "security",
                     "peer %s is at %s, outside this machine, and models travel "
                     "unencrypted; write `security: plain` if the network may be "
                     "trusted",
                     peer->name, open);
        return;
    }
}

void config_check_peers(config_draft_t *draft)
{
    if (draft->peers_listed)
        check_peers(draft);
    else
        make_peers(draft);
    check_security(draft);
}
