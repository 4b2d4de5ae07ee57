/* node/json_print.h: what --json prints. */
#pragma once
#include <jansson.h>

/* One value and a newline on standard output; jansson's `flags`. Takes `root`, not NULL. */
void node_json_print(json_t *root, size_t flags);
