#include "nn/net.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "nn/builder.h"
#include "nn/memory.h"

static const nn_architecture_t *const architectures[] = {&nn_architecture_cnn,
                                                         &nn_architecture_mobilenet_v2};
enum { ARCHITECTURES = sizeof architectures / sizeof architectures[0] };

static err_t find_architecture(const nn_architecture_t **found, const char *name)
{
    const char *names[ARCHITECTURES];
    for (size_t i = 0; i < ARCHITECTURES; i++) {
        names[i] = architectures[i]->name;
        if (!strcmp(names[i], name)) {
            *found = architectures[i];
            return ERR_OK;
        }
    }
    char shown[40];
    text_printable(shown, sizeof shown, name, strlen(name));
    const char *nearest = text_nearest(name, names, ARCHITECTURES);
    if (nearest)
        return err_set(ERR_CONFIG, "no model is called \"%s\"; did you mean \"%s\"?", shown,
                       nearest);
    return err_set(ERR_CONFIG, "no model is called \"%s\"; there are \"%s\" and \"%s\"", shown,
                   names[0], names[1]);
}

static err_t check_arch(const nn_arch_t *arch, const nn_architecture_t *a)
{
    err_t err = ERR_OK;
    if (!(arch->width > 0.0 && arch->width <= 4.0))
        FAIL(ERR_CONFIG, "model width %g: must be above 0 and at most 4", arch->width);
    if (arch->classes < 2 || arch->classes > NN_CLASSES_MAX)
        FAIL(ERR_CONFIG, "%zu classes: a model has 2 to %d", arch->classes, NN_CLASSES_MAX);
    if (arch->input < a->input_min)
        FAIL(ERR_CONFIG, "input of %zu pixels is too small for %s: it needs at least %zu",
             arch->input, a->name, a->input_min);
    if (arch->input > a->input_max)
        FAIL(ERR_CONFIG, "input of %zu pixels is too large for %s: at most %zu", arch->input,
             a->name, a->input_max);
    if (!(arch->dropout >= 0.0 && arch->dropout < 1.0))
        FAIL(ERR_CONFIG, "model dropout %g: must be at least 0 and below 1", arch->dropout);
out:
    return err;
}

/* Strides must be one of the architecture's; none given, they become its first. What it does not
 * take is cleared. */
static err_t resolve(nn_arch_t *arch, const nn_architecture_t *a)
{
    err_t err = ERR_OK;
    char shown[40];
    const size_t length = strlen(arch->strides);
    const char *at = a->strides;
    if (!a->dropout)
        arch->dropout = 0.0;
    if (!at && length == 0)
        return ERR_OK;
    text_printable(shown, sizeof shown, arch->strides, length);
    if (!at)
        FAIL(ERR_CONFIG, "strides \"%s\": %s has none to choose from, leave them out", shown,
             a->name);
    for (size_t word = strcspn(at, "|"); word > 0; word = strcspn(at, "|")) {
        if (length == 0)
            snprintf(arch->strides, sizeof arch->strides, "%.*s", (int)word, at);
        if (length == 0 || (length == word && !strncmp(at, arch->strides, word)))
            return ERR_OK;
        at += word + (at[word] == '|');
    }
    FAIL(ERR_CONFIG, "strides \"%s\": %s takes one of %s", shown, a->name, a->strides);
out:
    return err;
}

err_t nn_net_new(nn_net_t **out_net, const nn_arch_t *arch)
{
    err_t err = ERR_OK;
    nn_net_t *net = NULL;
    const nn_architecture_t *a = NULL;
    nn_arch_t resolved = *arch;
    *out_net = NULL;
    TRY(find_architecture(&a, arch->name));
    TRY(check_arch(arch, a));
    TRY(resolve(&resolved, a));
    net = nn_calloc(1, sizeof *net);
    net->arch = resolved;
    net->init = a->init;
    nn_builder_t builder = {.net = net, .tensor_capacity = 16};
    net->tensors = nn_calloc(builder.tensor_capacity, sizeof *net->tensors);
    net->tensors[0] = (nn_shape_t){arch->input, arch->input, 3};
    net->tensor_count = 1;
    a->build(&builder, &net->arch);
    CHECK(!builder.failed); /* input_min is the builder's own promise */
    *out_net = net;
    net = NULL;
out:
    nn_net_destroy(&net);
    return err;
}

void nn_net_destroy(nn_net_t **net)
{
    if (!*net)
        return;
    nn_free((*net)->ops);
    nn_free((*net)->tensors);
    nn_free((*net)->entries);
    nn_free(*net);
    *net = NULL;
}

int nn_net_find(const nn_net_t *net, const char *name)
{
    for (size_t i = 0; i < net->entry_count; i++)
        if (!strcmp(net->entries[i].name, name))
            return (int)i;
    return NN_NONE;
}
