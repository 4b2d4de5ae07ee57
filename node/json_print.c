#include "node/json_print.h"

#include <stdio.h>

#include "base/err.h"

void node_json_print(json_t *root, size_t flags)
{
    CHECK(root);
    json_dumpf(root, stdout, flags);
    printf("\n");
    json_decref(root);
}
