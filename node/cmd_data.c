/* hearsay data make, data info, data split: data sets, looked at and written. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "data/image.h"
#include "nn/json_text.h"
#include "node/commands.h"
#include "node/interrupt.h"
#include "node/json_print.h"
#include "node/setup.h"

enum { MAKE_AT_ONCE = 64, MAKE_SIDE = 64, MAKE_SIDE_CIFAR = 32 };

/* -- data make -- */

/* Writes pictures first .. first+n-1 as OUT/CLASS/NUMBER.png. */
static err_t write_pictures(const data_source_t *source, const char *out, size_t side, size_t first,
                            size_t n)
{
    err_t err = ERR_OK;
    data_set_t set = {0};
    uint32_t indices[MAKE_AT_ONCE];
    size_t skipped;
    char *path = NULL;
    for (size_t i = 0; i < n; i++)
        indices[i] = (uint32_t)(first + i);
    TRY(data_source_load(&set, &skipped, source, indices, n, side, DATA_BAD_STOP,
                         &node_interrupted));
    for (size_t i = 0; i < n; i++) {
        free(path);
        path = xasprintf("%s/%s/%06zu.png", out, data_source_class_names(source)[set.labels[i]],
                         first + i);
        TRY(image_write_png(path, set.pixels + i * side * side * DATA_CHANNELS, side, side));
    }
out:
    free(path);
    data_set_free(&set);
    return err;
}

static err_t make(const char *spec, const char *out_folder)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    char *path = NULL;
    if (!out_folder)
        FAIL(ERR_USAGE, "where to? --out DIR");
    TRY(data_source_open(&source, spec, NULL, 0));
    size_t count = data_source_count(source), classes = data_source_class_count(source);
    for (size_t c = 0; c < classes; c++) {
        free(path);
        const char *name = data_source_class_names(source)[c];
        if (name[0] == '.' || strchr(name, '/'))
            FAIL(ERR_FORMAT, "%s: class \"%s\" cannot be the name of a folder", spec, name);
        path = xasprintf("%s/%s", out_folder, name);
        if (file_exists(path))
            FAIL(ERR_CONFIG, "%s is there already; give a new folder with --out", path);
        TRY(file_make_folder(path));
    }
    size_t side = strncmp(spec, "cifar10:", 8) ? MAKE_SIDE : MAKE_SIDE_CIFAR;
    for (size_t first = 0; first < count; first += MAKE_AT_ONCE) {
        size_t n = count - first < MAKE_AT_ONCE ? count - first : MAKE_AT_ONCE;
        if (node_interrupted)
            FAIL(ERR_REFUSED, "interrupted; %s holds %zu of %zu pictures", out_folder, first,
                 count);
        TRY(write_pictures(source, out_folder, side, first, n));
    }
    printf("%s: %zu pictures of %zux%zu pixels in %zu classes\n", out_folder, count, side, side,
           classes);
out:
    free(path);
    data_source_close(&source);
    return err;
}

int cmd_data_make(const node_args_t *args)
{
    node_interrupt_setup();
    return node_exit(make(args->positional[0], args->out));
}

/* -- data info -- */

/* Pictures of each class among `count` of them (`indices` NULL: the first ones). malloc'd. */
static size_t *count_classes(const data_source_t *source, const uint32_t *indices, size_t count)
{
    size_t *counts = xcalloc(data_source_class_count(source), sizeof *counts);
    for (size_t i = 0; i < count; i++)
        counts[data_source_labels(source)[indices ? indices[i] : i]]++;
    return counts;
}

static err_t info(const char *spec, bool as_json)
{
    err_t err = ERR_OK;
    data_source_t *source = NULL;
    size_t *counts = NULL;
    TRY(data_source_open(&source, spec, NULL, 0));
    size_t count = data_source_count(source), train = data_source_train_count(source);
    size_t classes = data_source_class_count(source);
    const char *const *names = data_source_class_names(source);
    counts = count_classes(source, NULL, count);
    if (as_json) {
        json_t *list = json_array();
        for (size_t c = 0; c < classes; c++)
            json_array_append_new(list, json_pack("{s:o, s:I}", "name", nn_json_text(names[c]),
                                                  "samples", (json_int_t)counts[c]));
        json_t *root =
            json_pack("{s:o, s:I, s:I, s:o}", "data", nn_json_text(spec), "samples",
                      (json_int_t)count, "train_samples", (json_int_t)train, "classes", list);
        node_json_print(root, 0);
        goto out;
    }
    printf("%s: %zu pictures in %zu classes", spec, count, classes);
    if (train < count)
        printf(", %zu for training and %zu for testing", train, count - train);
    printf("\n");
    for (size_t c = 0; c < classes; c++)
        printf("  %-24s %8zu\n", names[c], counts[c]);
out:
    free(counts);
    data_source_close(&source);
    return err;
}

int cmd_data_info(const node_args_t *args)
{
    return node_exit(info(args->positional[0], args->json));
}

/* -- data split -- */

/* One peer's part, and the source it is a part of. */
typedef struct {
    data_source_t *own; /* NULL: the common one */
    const data_source_t *source;
    data_index_t own_train, own_test;
    const data_index_t *train, *local_test;
} part_t;

static err_t open_part(part_t *part, const node_setup_t *setup, size_t peer)
{
    err_t err = ERR_OK;
    const char *spec = setup->config->peers[peer].data;
    *part = (part_t){.source = setup->source};
    if (!spec) {
        part->train = &setup->split.train[peer];
        part->local_test = &setup->split.local_test[peer];
        return ERR_OK;
    }
    TRY(data_source_open(&part->own, spec, (const char *const *)setup->class_names,
                         setup->class_count));
    TRY(data_split_own(&part->own_train, &part->own_test, setup->config->seed, peer,
                       setup->config->data.local_test_fraction, data_source_count(part->own)));
    part->source = part->own;
    part->train = &part->own_train;
    part->local_test = &part->own_test;
out:
    return err ? err_prefix(err, "peer %s", setup->config->peers[peer].name) : ERR_OK;
}

static void close_part(part_t *part)
{
    data_index_free(&part->own_train);
    data_index_free(&part->own_test);
    data_source_close(&part->own);
}

/* Names of pictures, relative to the root of a folder; the caller json_decrefs, also on failure. */
static err_t names_of(json_t **names, const data_source_t *source, const data_index_t *index,
                      const char *root)
{
    err_t err = ERR_OK;
    size_t length = root ? strlen(root) : 0;
    *names = json_array();
    for (size_t i = 0; i < index->count; i++) {
        char name[4096];
        data_source_item_name(source, index->indices[i], name, sizeof name);
        bool below = length && !strncmp(name, root, length) && name[length] == '/';
        if (!json_array_append_new(*names, json_string(below ? name + length + 1 : name)))
            continue;
        char shown[256]; /* with a '?' in it the name would be another file's */
        text_printable(shown, sizeof shown, name, strlen(name));
        FAIL(ERR_CONFIG, "%s: the name is not UTF-8, which JSON needs; rename the file", shown);
    }
out:
    return err;
}

static err_t add_peer(json_t *peers, const node_setup_t *setup, size_t p)
{
    err_t err = ERR_OK;
    const node_peer_t *peer = &setup->config->peers[p];
    const char *folder = setup->config->data.root;
    json_t *train = NULL, *local_test = NULL;
    part_t part = {0};
    if (peer->data && !strncmp(peer->data, "folder:", 7))
        folder = peer->data + 7;
    TRY(open_part(&part, setup, p));
    TRY(names_of(&train, part.source, part.train, folder));
    TRY(names_of(&local_test, part.source, part.local_test, folder));
    json_array_append_new(peers, json_pack("{s:s, s:O, s:O}", "name", peer->name, "train", train,
                                           "local_test", local_test));
out:
    json_decref(train);
    json_decref(local_test);
    close_part(&part);
    return err;
}

static err_t split_json(const node_setup_t *setup)
{
    err_t err = ERR_OK;
    json_t *classes = json_array(), *peers = json_array(), *test = NULL;
    for (size_t c = 0; c < setup->class_count; c++)
        json_array_append_new(classes, nn_json_text(setup->class_names[c]));
    for (size_t p = 0; p < setup->config->peer_count; p++)
        TRY(add_peer(peers, setup, p));
    if (setup->source)
        TRY(names_of(&test, setup->source, &setup->split.test, setup->config->data.root));
    else
        test = json_array();
    node_json_print(json_pack("{s:O, s:O, s:O}", "classes", classes, "test", test, "peers", peers),
                    JSON_INDENT(1));
out:
    json_decref(classes);
    json_decref(peers);
    json_decref(test);
    return err;
}

static void print_row(FILE *out, const char *name, const data_source_t *source,
                      const data_index_t *index)
{
    size_t *counts = count_classes(source, index->indices, index->count);
    fprintf(out, "%-20s", name);
    for (size_t c = 0; c < data_source_class_count(source); c++)
        fprintf(out, " %7zu", counts[c]);
    fprintf(out, " %8zu\n", index->count);
    free(counts);
}

static err_t split_table(const node_setup_t *setup)
{
    err_t err = ERR_OK;
    part_t part = {0};
    char *text = NULL;
    size_t size = 0;
    FILE *table = open_memstream(&text, &size); /* all of the table or nothing */
    CHECK(table);
    fprintf(table, "%-20s", "");
    for (size_t c = 0; c < setup->class_count; c++)
        fprintf(table, " %7.7s", setup->class_names[c]);
    fprintf(table, " %8s\n", "all");
    for (size_t p = 0; p < setup->config->peer_count; p++) {
        char name[GOSSIP_NAME_MAX + 16];
        TRY(open_part(&part, setup, p));
        snprintf(name, sizeof name, "%s", setup->config->peers[p].name);
        print_row(table, name, part.source, part.train);
        snprintf(name, sizeof name, "%s local test", setup->config->peers[p].name);
        print_row(table, name, part.source, part.local_test);
        close_part(&part);
        part = (part_t){0};
    }
    if (setup->source)
        print_row(table, "common test", setup->source, &setup->split.test);
out:
    close_part(&part);
    fclose(table);
    if (!err)
        fputs(text, stdout);
    free(text);
    return err;
}

int cmd_data_split(const node_args_t *args)
{
    err_t err = ERR_OK;
    node_config_t config = {0};
    node_setup_t setup = {0};
    TRY(node_config_load(&config, args->positional[0], (const char *const *)args->sets,
                         args->set_count));
    TRY(node_setup_init(&setup, &config, SIZE_MAX));
    TRY(args->json ? split_json(&setup) : split_table(&setup));
out:
    node_setup_free(&setup);
    node_config_free(&config);
    return node_exit(err);
}
