#include "nn/net.h"

#include <string.h>

#include "base/text.h"
#include "nn/builder.h"
#include "nn/memory.h"

enum { INPUT_MAX = 1024 }; /* pixels: keeps every size far from overflow */

static const nn_architecture_t *const architectures[] = {&nn_architecture_cnn};
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
    return err_set(ERR_CONFIG, "no model is called \"%s\"; there is \"%s\"", shown, names[0]);
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
    if (arch->input > INPUT_MAX)
        FAIL(ERR_CONFIG, "input of %zu pixels is too large: at most %d", arch->input, INPUT_MAX);
out:
    return err;
}

err_t nn_net_new(nn_net_t **out_net, const nn_arch_t *arch)
{
    err_t err = ERR_OK;
    nn_net_t *net = NULL;
    const nn_architecture_t *a = NULL;
    *out_net = NULL;
    TRY(find_architecture(&a, arch->name));
    TRY(check_arch(arch, a));
    net = nn_calloc(1, sizeof *net);
    net->arch = *arch;
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
