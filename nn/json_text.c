#include "nn/json_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

json_t *nn_json_text(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    char *shown = xcalloc(strlen(text) + 1, 1);
    text_printable(shown, strlen(text) + 1, text, strlen(text));
    json = json_string(shown);
    free(shown);
    return json;
}
