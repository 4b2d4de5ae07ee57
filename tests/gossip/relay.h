/* tests/gossip/relay.h: a TCP relay that counts what passes through it, on 127.0.0.1. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct relay_s relay_t;

/* Listens on `count` ports from `from`; what connects to from + i goes on to to + i. */
relay_t *relay_new(uint16_t from, uint16_t to, size_t count);
void relay_destroy(relay_t **relay);
/* Bytes so far towards those who listen, and back. */
void relay_bytes(relay_t *relay, uint64_t *there, uint64_t *back);

/* The first of `count` ports in a row that nobody listens on, none of which was returned before. */
uint16_t free_ports(size_t count);
