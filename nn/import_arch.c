/* Which net a file's tensors are of. Widths are not written in a checkpoint: the one whose shapes
 * fit is looked for, the usual ones first, so that equal shapes give equal metadata. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/import.h"

typedef struct {
    const char *name;
    const char *probes[3]; /* tensors whose first side follows the width */
    const char *head;      /* its first side is the number of classes */
    size_t input, input_small, dense_min, dense_max; /* pixels: usual, with strides small; tried */
    const char *dense;                               /* whose second side follows the input */
    const char *strides;                             /* usual */
    double dropout;                                  /* usual */
} known_t;

static const known_t known[] = {
    {"cnn", {"conv1.weight", "conv2.weight", "conv3.weight"}, "fc3.weight", 64, 64, 28, 1024,
     "fc1.weight", "", 0.0},
    {"mobilenet_v2",
     {"features.0.0.weight", "features.1.conv.1.weight", "features.18.0.weight"},
     "classifier.1.weight", 224, 32, 0, 0, NULL, "imagenet", 0.2},
};
enum { KNOWN = sizeof known / sizeof known[0] };

static const double usual_widths[] = {1.0, 0.75, 0.5, 0.35, 0.25, 1.4, 1.3, 2.0};
enum { USUAL = sizeof usual_widths / sizeof usual_widths[0], WIDTHS = USUAL + 400 };

/* The usual ones, then 0.01 to 4.00 in steps of 0.01. */
static double width_at(size_t i)
{
    return i < USUAL ? usual_widths[i] : (double)(i - USUAL + 1) / 100.0;
}

static bool has_weight(const nn_tensor_file_t *file, const char *name, size_t rank)
{
    const nn_tensor_info_t *t = name ? nn_tensor_file_find(file, name) : NULL;
    return t && t->rank == rank && t->count > 0;
}

static bool fits(const nn_tensor_file_t *file, const nn_net_t *net, const char *name)
{
    int e = nn_net_find(net, name);
    const nn_tensor_info_t *t = nn_tensor_file_find(file, name);
    return e != NN_NONE && t && t->rank == net->entries[e].rank &&
           !memcmp(t->shape, net->entries[e].shape, t->rank * sizeof *t->shape);
}

/* How many of the net's entries the file has in their shape. */
static size_t count_fitting(const nn_tensor_file_t *file, const nn_net_t *net)
{
    size_t count = 0;
    for (size_t i = 0; i < net->entry_count; i++)
        count += fits(file, net, net->entries[i].name);
    return count;
}

/* The width with most tensors in shape; 1 when none fits, and then what is wrong will be told. */
static err_t find_width(nn_arch_t *arch, const nn_tensor_file_t *file)
{
    err_t err = ERR_OK;
    size_t best = 0;
    nn_arch_t tried = *arch;
    for (size_t i = 0; i < WIDTHS; i++) {
        nn_net_t *net = NULL;
        tried.width = width_at(i);
        TRY(nn_net_new(&net, &tried));
        size_t fitting = count_fitting(file, net), entries = net->entry_count;
        nn_net_destroy(&net);
        if (fitting > best) {
            best = fitting;
            arch->width = tried.width;
        }
        if (fitting + 3 >= entries) /* all but the head and the layer that follows the input */
            break;
    }
out:
    return err;
}

/* The usual input when the first dense layer fits it, else the least that it fits. */
static err_t find_input(nn_arch_t *arch, const nn_tensor_file_t *file, const known_t *k)
{
    err_t err = ERR_OK;
    nn_arch_t tried = *arch;
    for (size_t input = k->dense_min - 1; input <= k->dense_max; input++) {
        nn_net_t *net = NULL;
        tried.input = input < k->dense_min ? arch->input : input; /* the usual one first */
        TRY(nn_net_new(&net, &tried));
        bool good = fits(file, net, k->dense);
        nn_net_destroy(&net);
        if (good) {
            arch->input = tried.input;
            break;
        }
    }
out:
    return err;
}

/* The net most of whose telling tensors are there, so that a missing one can be named; NULL when
 * none has two. */
static const known_t *find_known(const nn_tensor_file_t *file)
{
    const known_t *best = NULL;
    size_t most = 1;
    for (int i = 0; i < KNOWN; i++) {
        size_t count = has_weight(file, known[i].head, 2);
        for (int p = 0; p < 3; p++)
            count += has_weight(file, known[i].probes[p], 4);
        if (count > most) {
            most = count;
            best = &known[i];
        }
    }
    return best;
}

err_t nn_import_arch(nn_arch_t *arch, const nn_tensor_file_t *file)
{
    err_t err = ERR_OK;
    const known_t *k = find_known(file);
    size_t asked = arch->input, classes;
    if (!k)
        FAIL(ERR_FORMAT,
             "%s: its %zu tensors are of no net that hearsay has: a mobilenet_v2 as torchvision "
             "names it has features.0.0.weight to classifier.1.bias, a cnn conv1.weight to "
             "fc3.bias",
             nn_tensor_file_path(file), nn_tensor_file_count(file));
    if (!has_weight(file, k->head, 2))
        FAIL(ERR_FORMAT, "%s: tensor \"%s\" of a %s is missing, or no matrix",
             nn_tensor_file_path(file), k->head, k->name);
    classes = nn_tensor_file_find(file, k->head)->shape[0];
    snprintf(arch->name, sizeof arch->name, "%s", k->name);
    if (!*arch->strides)
        snprintf(arch->strides, sizeof arch->strides, "%s", k->strides);
    if (!asked)
        arch->input = strcmp(arch->strides, "small") ? k->input : k->input_small;
    if (!arch->classes)
        arch->classes = classes;
    if (arch->classes < 2 || arch->classes > NN_CLASSES_MAX)
        FAIL(ERR_CONFIG,
             "%s: its head has %zu classes, a model has 2 to %d: give yours with --classes, then "
             "a new head is drawn",
             nn_tensor_file_path(file), classes, NN_CLASSES_MAX);
    arch->width = 1.0;
    arch->dropout = k->dropout;
    TRY(find_width(arch, file));
    if (!asked && k->dense)
        TRY(find_input(arch, file, k));
out:
    return err;
}
