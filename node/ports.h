/* node/ports.h: are a peer's ports free? A clear word ahead of all work. */
#pragma once
#include "node/config.h"

/* Binds and closes the ports that peer `peer` will bind. ERR_NET, naming the peer and the port;
 * what to do about it depends on whether all peers run here (`hearsay up`) or this one. */
err_t node_ports_check(const node_config_t *config, size_t peer, bool all_here);
