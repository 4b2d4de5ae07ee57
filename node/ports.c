#include "node/ports.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static err_t check_port(const char *peer, const char *host, int number, bool all_here)
{
    err_t err = ERR_OK;
    int fd = -1, yes = 1;
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char port[8];
    snprintf(port, sizeof port, "%d", number);
    if (getaddrinfo(host, port, &hints, &found))
        FAIL(ERR_NET, "peer %s: no address for host %s: write an IP address or a known name", peer,
             host);
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        FAIL(ERR_NET, "make a socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, found->ai_addr, found->ai_addrlen)) {
        if (errno == EADDRINUSE)
            FAIL(ERR_NET,
                 "peer %s: port %s of %s is in use: another run may still be there; stop it or "
                 "choose %s",
                 peer, port, host,
                 all_here ? "others with --set peers.base_port=N" : "another for all peers");
        FAIL(ERR_NET, "peer %s: cannot listen on %s port %s: %s; %s", peer, host, port,
             strerror(errno),
             all_here ? "`hearsay up` runs every peer on this machine: on several, start each with "
                        "`hearsay node`"
                      : "when this machine is reached under another address than its own, set "
                        "bind_host");
    }
out:
    if (fd >= 0)
        close(fd);
    if (found)
        freeaddrinfo(found);
    return err;
}

err_t node_ports_check(const node_config_t *config, size_t peer, bool all_here)
{
    err_t err = ERR_OK;
    const gossip_address_t *address = &config->peers[peer].address;
    const char *host = *address->bind_host ? address->bind_host : address->host;
    const int first = address->bind_port ? address->bind_port : address->port;
    for (int k = 0; k < GOSSIP_PORTS; k++)
        TRY(check_port(config->peers[peer].name, host, first + k, all_here));
out:
    return err;
}
