/* nn/json_text.h: text of unknown origin as JSON. */
#pragma once
#include <jansson.h>

/* Names of files and classes may hold any byte, JSON must not: what is no UTF-8 becomes '?'. */
json_t *nn_json_text(const char *text);
