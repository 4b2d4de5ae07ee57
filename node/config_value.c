/* node/config_value.c: one value of a configuration, by the type of its key. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "node/config_table.h"

/* Fails with what stands there and what the key accepts. */
static err_t refuse(const config_reader_t *reader, const config_key_t *key, const yaml_node_t *node)
{
    char accepts[256], shown[64];
    config_place_t place = config_place(reader, node);
    config_accepts(accepts, key);
    if (node->type != YAML_SCALAR_NODE)
        return config_fail_at(&place, key->name, "a %s is not accepted here; accepted: %s",
                              node->type == YAML_SEQUENCE_NODE ? "list" : "mapping", accepts);
    text_printable(shown, sizeof shown, (const char *)node->data.scalar.value,
                   node->data.scalar.length);
    return config_fail_at(&place, key->name, "\"%s\" is not accepted here; accepted: %s", shown,
                          accepts);
}

/* The text of a scalar, NULL for lists, mappings and text with a zero byte in it. */
static const char *scalar(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

static bool is_null(const yaml_node_t *node)
{
    const char *text = scalar(node);
    return text && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*text || !strcmp(text, "null") || !strcmp(text, "~"));
}

static const yaml_node_t *item(config_reader_t *reader, const yaml_node_t *list, size_t i)
{
    return yaml_document_get_node(&reader->document, list->data.sequence.items.start[i]);
}

static size_t length(const yaml_node_t *node)
{
    return node->type == YAML_SEQUENCE_NODE
               ? (size_t)(node->data.sequence.items.top - node->data.sequence.items.start)
               : 0;
}

/* A name that may also be a folder's. */
static bool read_name(char *out, size_t max, const char *text)
{
    size_t n = strlen(text);
    if (n < 1 || n > max ||
        !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", text[0]))
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '.' || c == '-'))
            return false;
    }
    memcpy(out, text, n + 1);
    return true;
}

static bool read_host(char *out, const char *text)
{
    size_t n = strlen(text);
    if (n < 1 || n > 255)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '-' || c == ':' || c == '%' || c == '_'))
            return false;
    }
    memcpy(out, text, n + 1);
    return true;
}

static bool read_spec(char **out, const char *text)
{
    const char *colon = strchr(text, ':');
    if (!colon || !colon[1])
        return false;
    char kind[32];
    snprintf(kind, sizeof kind, "%.*s", (int)(colon - text), text);
    if (config_choice("synthetic|cifar10|folder", kind) < 0)
        return false;
    char *rest = file_expand_home(colon + 1);
    free(*out);
    *out = xasprintf("%s:%s", kind, rest);
    free(rest);
    return true;
}

static bool read_whole(const config_key_t *key, void *at, const char *text)
{
    uint64_t value;
    if (!text_to_u64(&value, text) || value > (uint64_t)key->max || value < (uint64_t)key->min)
        return false;
    switch (key->type) {
    case CONFIG_U16:
        *(uint16_t *)at = (uint16_t)value;
        break;
    case CONFIG_U32:
        *(uint32_t *)at = (uint32_t)value;
        break;
    case CONFIG_SIZE:
        *(size_t *)at = value;
        break;
    case CONFIG_INT:
        *(int *)at = (int)value;
        break;
    default:
        *(uint64_t *)at = value;
    }
    return true;
}

static bool read_number(const config_key_t *key, double *value, const char *text)
{
    return text_to_double(value, text) && *value <= key->max &&
           (key->above ? *value > key->min : *value >= key->min);
}

static bool read_float(const config_key_t *key, float *at, const char *text)
{
    double value;
    if (!read_number(key, &value, text) || (key->above && (float)value <= (float)key->min))
        return false;
    *at = (float)value;
    return true;
}

/* "dirichlet(0.5)", "shards(2)" */
static bool read_partition(node_config_t *config, const char *text)
{
    char word[32];
    size_t n = strlen(text);
    const char *open = strchr(text, '(');
    if (!strcmp(text, "iid")) {
        config->data.partition = DATA_PARTITION_IID;
        return true;
    }
    if (!open || n >= sizeof word || text[n - 1] != ')')
        return false;
    snprintf(word, sizeof word, "%.*s", (int)(text + n - 1 - (open + 1)), open + 1);
    double alpha;
    uint64_t shards;
    if (!strncmp(text, "dirichlet(", 10) && text_to_double(&alpha, word) && alpha > 0 &&
        alpha <= 1e6) {
        config->data.partition = DATA_PARTITION_DIRICHLET;
        config->data.alpha = alpha;
        return true;
    }
    if (!strncmp(text, "shards(", 7) && text_to_u64(&shards, word) && shards >= 1 &&
        shards <= 10000) {
        config->data.partition = DATA_PARTITION_SHARDS;
        config->data.shards = shards;
        return true;
    }
    return false;
}

static bool read_deadline(const config_key_t *key, config_draft_t *draft, const char *text)
{
    int choice = config_choice(key->choices, text);
    double seconds;
    if (choice >= 0)
        draft->config.gossip.deadline = (gossip_deadline_t)choice;
    else if (read_number(key, &seconds, text)) {
        draft->config.gossip.deadline = GOSSIP_DEADLINE_FIXED;
        draft->deadline_s = seconds;
    } else {
        return false;
    }
    return true;
}

static bool read_clip(const config_key_t *key, config_draft_t *draft, const char *text)
{
    double distance = 0.0;
    if (config_choice(key->choices, text) < 0 && !read_number(key, &distance, text))
        return false;
    draft->config.gossip.clip = distance;
    return true;
}

static err_t read_triple(config_reader_t *reader, const config_key_t *key, float *out,
                         const yaml_node_t *node)
{
    err_t err = ERR_OK;
    if (length(node) != 3)
        TRY(refuse(reader, key, node));
    for (size_t i = 0; i < 3; i++) {
        const yaml_node_t *number = item(reader, node, i);
        if (!scalar(number) || !read_float(key, &out[i], scalar(number)))
            TRY(refuse(reader, key, number));
    }
out:
    return err;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static err_t read_classes(config_reader_t *reader, const config_key_t *key, const yaml_node_t *node)
{
    err_t err = ERR_OK;
    node_config_t *config = &reader->draft->config;
    size_t count = length(node), done = 0;
    char **names = xcalloc(count, sizeof *names), **sorted = NULL;
    if (node->type != YAML_SEQUENCE_NODE || count == 1 || count > (size_t)key->max)
        TRY(refuse(reader, key, node));
    for (; done < count; done++) {
        const char *name = scalar(item(reader, node, done));
        if (!name || !*name || strlen(name) >= 128 || strpbrk(name, "/\n\r\t"))
            TRY(refuse(reader, key, item(reader, node, done)));
        names[done] = xstrdup(name);
    }
    sorted = xcalloc(count, sizeof *sorted);
    memcpy(sorted, names, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_name);
    config_place_t place = config_place(reader, node);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(sorted[i - 1], sorted[i]))
            TRY(config_fail_at(&place, key->name, "%s is there twice; every class once",
                               sorted[i]));
    for (size_t i = 0; i < config->class_count; i++)
        free(config->classes[i]);
    free(config->classes);
    config->classes = count ? names : NULL;
    config->class_count = count;
    if (count)
        names = NULL;
out:
    for (size_t i = 0; names && i < done; i++)
        free(names[i]);
    free(names);
    free(sorted);
    return err;
}

static void drop_edges(config_draft_t *draft)
{
    for (size_t i = 0; i < 2 * draft->config.gossip.edge_count; i++)
        free(draft->edge_names[i]);
    free(draft->edge_names);
    free(draft->edge_places);
    draft->edge_names = NULL;
    draft->edge_places = NULL;
    draft->config.gossip.edge_count = 0;
}

/* Pairs of names; which peers they are is found out when all peers are known. */
static err_t read_topology(config_reader_t *reader, const config_key_t *key,
                           const yaml_node_t *node)
{
    err_t err = ERR_OK;
    config_draft_t *draft = reader->draft;
    int choice = scalar(node) ? config_choice(key->choices, scalar(node)) : -1;
    size_t count = length(node);
    if (choice < 0 && count == 0)
        TRY(refuse(reader, key, node));
    drop_edges(draft);
    draft->config.gossip.topology = choice < 0 ? GOSSIP_EDGES : (gossip_topology_kind_t)choice;
    draft->edge_names = xcalloc(2 * count, sizeof *draft->edge_names);
    draft->edge_places = xcalloc(count, sizeof *draft->edge_places);
    draft->config.gossip.edge_count = count;
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *pair = item(reader, node, i);
        if (length(pair) != 2)
            TRY(refuse(reader, key, pair));
        draft->edge_places[i] = config_place(reader, pair);
        for (size_t end = 0; end < 2; end++) {
            const char *name = scalar(item(reader, pair, end));
            if (!name)
                TRY(refuse(reader, key, item(reader, pair, end)));
            draft->edge_names[2 * i + end] = xstrdup(name);
        }
    }
out:
    if (err) { /* half a list is none */
        drop_edges(draft);
        draft->config.gossip.topology = GOSSIP_FULL;
    }
    return err;
}

static err_t read_precisions(config_reader_t *reader, const config_key_t *key,
                             const yaml_node_t *node)
{
    err_t err = ERR_OK;
    node_config_t *config = &reader->draft->config;
    size_t count = length(node);
    if (node->type != YAML_SEQUENCE_NODE)
        TRY(refuse(reader, key, node));
    config->quantize.precision_count = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = scalar(item(reader, node, i));
        int choice = name ? config_choice(key->choices, name) : -1;
        if (choice <= 0) /* fp32 is compared with anyway */
            TRY(refuse(reader, key, item(reader, node, i)));
        config_place_t place = config_place(reader, item(reader, node, i));
        for (size_t k = 0; k < config->quantize.precision_count; k++)
            if ((int)config->quantize.precisions[k] == choice)
                TRY(config_fail_at(&place, key->name, "%s is there twice; every precision once",
                                   name));
        config->quantize.precisions[config->quantize.precision_count++] = (quant_precision_t)choice;
    }
out:
    return err;
}

static err_t read_epochs(config_reader_t *reader, const config_key_t *key, const yaml_node_t *node)
{
    err_t err = ERR_OK;
    nn_schedule_t *schedule = &reader->draft->config.train.schedule;
    size_t count = length(node);
    if (node->type != YAML_SEQUENCE_NODE || count > NN_MILESTONES_MAX)
        TRY(refuse(reader, key, node));
    schedule->milestone_count = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t epoch;
        const char *text = scalar(item(reader, node, i));
        double least = i ? schedule->milestones[i - 1] + 1.0 : key->min;
        if (!text || !text_to_u64(&epoch, text) || (double)epoch < least ||
            (double)epoch > key->max)
            TRY(refuse(reader, key, item(reader, node, i)));
        schedule->milestones[schedule->milestone_count++] = (uint32_t)epoch;
    }
out:
    return err;
}

static bool read_scalar(config_draft_t *draft, const config_key_t *key, void *at, const char *text,
                        bool null)
{
    double number;
    int choice = key->choices ? config_choice(key->choices, text) : -1;
    switch (key->type) {
    case CONFIG_NAME:
        return !null && read_name(at, (size_t)key->max, text);
    case CONFIG_HOST:
        return !null && read_host(at, text);
    case CONFIG_PATH:
    case CONFIG_FILE:
    case CONFIG_SPEC:
        if (null) {
            free(*(char **)at);
            *(char **)at = NULL;
            return true;
        }
        if (key->type == CONFIG_SPEC)
            return read_spec(at, text);
        free(*(char **)at);
        *(char **)at = file_expand_home(text);
        return true;
    case CONFIG_WORD:
        if (choice < 0 && !null)
            return false;
        snprintf(at, (size_t)key->max + 1, "%s", null ? "" : text);
        return true;
    case CONFIG_CHOICE:
        *(unsigned *)at = choice < 0 ? *(unsigned *)at : (unsigned)choice;
        return choice >= 0;
    case CONFIG_BOOL:
        *(bool *)at = !strcmp(text, "true");
        return !strcmp(text, "true") || !strcmp(text, "false");
    case CONFIG_REAL:
        if (!read_number(key, &number, text))
            return false;
        *(double *)at = number;
        return true;
    case CONFIG_FLOAT:
        return read_float(key, at, text);
    case CONFIG_DEADLINE:
        return read_deadline(key, draft, text);
    case CONFIG_ATTACK:
        return node_attack_parse(at, text);
    case CONFIG_CLIP:
        return read_clip(key, draft, text);
    case CONFIG_PARTITION:
        return read_partition(&draft->config, text);
    default:
        return read_whole(key, at, text);
    }
}

err_t config_read_value(config_reader_t *reader, const config_key_t *key, void *base,
                        const yaml_node_t *node)
{
    void *at = (char *)base + key->offset;
    switch (key->type) {
    case CONFIG_TRIPLE:
        return read_triple(reader, key, at, node);
    case CONFIG_CLASSES:
        return read_classes(reader, key, node);
    case CONFIG_TOPOLOGY:
        return read_topology(reader, key, node);
    case CONFIG_EPOCHS:
        return read_epochs(reader, key, node);
    case CONFIG_PRECISIONS:
        return read_precisions(reader, key, node);
    case CONFIG_EVENTS:
        return config_read_events(reader, node);
    default:
        break;
    }
    const char *text = scalar(node);
    if (!text || !read_scalar(reader->draft, key, at, text, is_null(node)))
        return refuse(reader, key, node);
    return ERR_OK;
}
