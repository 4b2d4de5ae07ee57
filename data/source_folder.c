/* A folder of class folders of JPEG or PNG files. Classes and pictures come in bytewise order of
 * their names, whatever the locale; hidden entries are ignored. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/log.h"
#include "data/source_kind.h"

typedef struct {
    char *root;   /* owned */
    char **files; /* (count) names within their class folder, owned */
    size_t capacity;
} folder_t;

static void folder_close(data_source_t *source)
{
    folder_t *folder = source->state;
    for (size_t i = 0; i < source->count; i++)
        free(folder->files[i]);
    free(folder->files);
    free(folder->root);
    free(folder);
}

static void folder_item_name(const data_source_t *source, size_t i, char *out, size_t size)
{
    const folder_t *folder = source->state;
    snprintf(out, size, "%s/%s/%s", folder->root, source->class_names[source->labels[i]],
             folder->files[i]);
}

static err_t folder_decode(const data_source_t *source, size_t i, image_t *image)
{
    const folder_t *folder = source->state;
    char *path = xasprintf("%s/%s/%s", folder->root, source->class_names[source->labels[i]],
                           folder->files[i]);
    err_t err = image_read(image, path);
    free(path);
    return err;
}

static const data_source_kind_t kind = {folder_decode, folder_item_name, folder_close};

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int bytewise(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void free_entries(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

static bool is_folder(const char *parent, const struct dirent *entry)
{
    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK)
        return entry->d_type == DT_DIR;
    struct stat st;
    char *path = xasprintf("%s/%s", parent, entry->d_name);
    bool yes = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    free(path);
    return yes;
}

static bool is_picture_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot &&
           (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

static void add_picture(data_source_t *source, const char *name, int32_t label)
{
    folder_t *folder = source->state;
    if (source->count == folder->capacity) {
        folder->capacity = folder->capacity ? 2 * folder->capacity : 1024;
        folder->files = xrealloc(folder->files, folder->capacity, sizeof *folder->files);
        source->labels = xrealloc(source->labels, folder->capacity, sizeof *source->labels);
    }
    folder->files[source->count] = xstrdup(name);
    source->labels[source->count++] = label;
}

/* Appends the pictures of one class folder. */
static err_t add_class(data_source_t *source, const char *name, int32_t label, bool may_be_empty)
{
    err_t err = ERR_OK;
    folder_t *folder = source->state;
    size_t before = source->count;
    struct dirent **entries = NULL;
    char *path = xasprintf("%s/%s", folder->root, name);
    int n = scandir(path, &entries, not_hidden, bytewise);
    if (n < 0)
        FAIL(ERR_IO, "open folder %s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (is_picture_name(entries[i]->d_name) && !is_folder(path, entries[i]))
            add_picture(source, entries[i]->d_name, label);
        else
            log_debug("not_a_picture", "ignored %s/%s", path, entries[i]->d_name);
    }
    if (source->count == before && !may_be_empty)
        FAIL(ERR_CONFIG,
             "class folder %s holds no JPEG or PNG picture: add some or remove the folder", path);
out:
    free_entries(entries, n);
    free(path);
    return err;
}

/* The class folders of the root, sorted.
 *   out names  (*count) into `entries` */
static err_t list_classes(const char **names, size_t *count, struct dirent **entries, int n,
                          const char *root)
{
    err_t err = ERR_OK;
    *count = 0;
    for (int i = 0; i < n; i++) {
        if (!is_folder(root, entries[i])) {
            log_debug("not_a_class", "ignored %s/%s", root, entries[i]->d_name);
            continue;
        }
        if (*count == DATA_CLASSES_MAX)
            FAIL(ERR_CONFIG, "%s: more than %d class folders", root, DATA_CLASSES_MAX);
        names[(*count)++] = entries[i]->d_name;
    }
    if (*count == 0)
        FAIL(ERR_CONFIG,
             "%s holds no class folders: put the pictures of each class into a folder that has the "
             "class's name",
             root);
out:
    return err;
}

err_t data_open_folder(data_source_t *source, const data_spec_t *spec)
{
    err_t err = ERR_OK;
    const char *names[DATA_CLASSES_MAX];
    int32_t map[DATA_CLASSES_MAX];
    size_t own_count = 0;
    struct dirent **entries = NULL;
    folder_t *folder = xcalloc(1, sizeof *folder);
    source->kind = &kind;
    source->state = folder;
    folder->root = xstrdup(spec->rest);
    int n = scandir(folder->root, &entries, not_hidden, bytewise);
    if (n < 0 && (errno == ENOENT || errno == ENOTDIR))
        FAIL(ERR_CONFIG, "%s: no folder %s: check the path", spec->whole, folder->root);
    if (n < 0)
        FAIL(ERR_IO, "open folder %s: %s", folder->root, strerror(errno));
    TRY(list_classes(names, &own_count, entries, n, folder->root));
    TRY(data_source_set_classes(map, source, spec, names, own_count));
    /* In the order of the classes, so that labels never fall from one picture to the next. */
    for (int32_t label = 0; label < (int32_t)source->class_count; label++)
        for (size_t i = 0; i < own_count; i++)
            if (map[i] == label)
                TRY(add_class(source, names[i], label, spec->classes != NULL));
    if (source->count == 0)
        FAIL(ERR_CONFIG, "%s: no class folder holds a JPEG or PNG picture: add some", spec->whole);
    source->train_count = source->count;
out:
    free_entries(entries, n);
    return err;
}
