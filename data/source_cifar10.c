/* CIFAR-10's binary version: data_batch_1.bin .. data_batch_5.bin, test_batch.bin and
 * batches.meta.txt. A record is a label byte and 3,072 bytes: 1,024 red, 1,024 green, 1,024 blue,
 * row by row. Labels are read when the source is opened, pixels when they are asked for: ten peers
 * on one machine do not hold ten copies. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/source_kind.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE, LABELS = 10, FILES = 6 };

static const char *const file_names[FILES] = {
    "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
    "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin",
};

typedef struct {
    char *folder; /* owned */
    size_t file_count;
    struct {
        const char *name;
        int fd;
        size_t first; /* its first picture's index in the source */
        size_t count; /* pictures */
    } files[FILES];
} cifar10_t;

static void cifar10_close(data_source_t *source)
{
    cifar10_t *cifar = source->state;
    for (size_t f = 0; f < cifar->file_count; f++)
        close(cifar->files[f].fd);
    free(cifar->folder);
    free(cifar);
}

/* The file that holds picture i of the source. */
static size_t file_of(const cifar10_t *cifar, size_t i)
{
    size_t f = 0;
    while (i >= cifar->files[f].first + cifar->files[f].count)
        f++;
    return f;
}

static void cifar10_item_name(const data_source_t *source, size_t i, char *out, size_t size)
{
    const cifar10_t *cifar = source->state;
    size_t f = file_of(cifar, i);
    snprintf(out, size, "%s[%zu]", cifar->files[f].name, i - cifar->files[f].first);
}

static err_t cifar10_decode(const data_source_t *source, size_t i, image_t *image)
{
    err_t err = ERR_OK;
    const cifar10_t *cifar = source->state;
    size_t f = file_of(cifar, i), record = i - cifar->files[f].first;
    uint8_t bytes[RECORD];
    ssize_t n = pread(cifar->files[f].fd, bytes, RECORD, (off_t)(record * RECORD));
    if (n != RECORD)
        FAIL(ERR_IO, "read %s/%s record %zu: %s", cifar->folder, cifar->files[f].name, record,
             n < 0 ? strerror(errno) : "the file has become shorter");
    TRY(image_reserve(image, SIDE, SIDE));
    for (size_t p = 0; p < PLANE; p++)
        for (size_t c = 0; c < 3; c++)
            image->pixels[3 * p + c] = bytes[1 + c * PLANE + p];
out:
    return err;
}

static const data_source_kind_t kind = {cifar10_decode, cifar10_item_name, cifar10_close};

/* The ten lines of batches.meta.txt; blank lines do not count.
 *   out names  into `text`, which is cut at the line ends */
static err_t split_meta(const char *names[LABELS], char *text, const char *path)
{
    err_t err = ERR_OK;
    size_t count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        if (count < LABELS)
            names[count] = line;
        count++;
    }
    if (count != LABELS)
        FAIL(ERR_FORMAT, "%s: %zu class names, CIFAR-10 has %d", path, count, LABELS);
out:
    return err;
}

static err_t read_classes(int32_t map[LABELS], data_source_t *source, const data_spec_t *spec,
                          const char *folder)
{
    err_t err = ERR_OK;
    unsigned char *text = NULL;
    size_t size = 0;
    const char *names[LABELS];
    char *path = xasprintf("%s/batches.meta.txt", folder);
    if (!file_exists(path))
        FAIL(ERR_CONFIG,
             "%s is missing: cifar10 needs the folder of CIFAR-10's binary version, with "
             "data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt",
             path);
    TRY(file_read(&text, &size, path, 1 << 16));
    TRY(split_meta(names, (char *)text, path));
    TRY(data_source_set_classes(map, source, spec, names, LABELS));
out:
    free(path);
    free(text);
    return err;
}

/* Opens a batch file as the next of `cifar` and appends its labels to the source. */
static err_t add_file(data_source_t *source, const char *name, const int32_t map[LABELS])
{
    err_t err = ERR_OK;
    enum { RECORDS_A_READ = 64 };
    cifar10_t *cifar = source->state;
    unsigned char *buffer = NULL;
    struct stat st;
    char *path = xasprintf("%s/%s", cifar->folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait for a writer */
    if (fd < 0 && errno == ENOENT)
        FAIL(ERR_CONFIG, "%s is missing: get all of CIFAR-10's binary version", path);
    if (fd < 0 || fstat(fd, &st))
        FAIL(ERR_IO, "open %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        FAIL(ERR_IO, "open %s: is not a regular file", path);
    size_t size = (size_t)st.st_size, count = size / RECORD;
    if (size == 0 || size % RECORD != 0 || size > (size_t)1 << 30)
        FAIL(ERR_FORMAT, "%s: %zu bytes are not a whole number of records of %d bytes: get it anew",
             path, size, RECORD);
    buffer = malloc(RECORDS_A_READ * RECORD);
    int32_t *labels = reallocarray(source->labels, source->count + count, sizeof *labels);
    if (labels)
        source->labels = labels;
    if (!buffer || !labels)
        FAIL(ERR_MEMORY, "%s: no memory for %zu labels", path, count);
    for (size_t done = 0; done < count;) {
        size_t n = count - done < RECORDS_A_READ ? count - done : RECORDS_A_READ;
        ssize_t got = pread(fd, buffer, n * RECORD, (off_t)(done * RECORD));
        if (got != (ssize_t)(n * RECORD))
            FAIL(ERR_IO, "read %s: %s", path, got < 0 ? strerror(errno) : "it ends early");
        for (size_t i = 0; i < n; i++, done++) {
            unsigned label = buffer[i * RECORD];
            if (label >= LABELS)
                FAIL(ERR_FORMAT, "%s: record %zu (byte %zu) has label %u, CIFAR-10 has 0 to %d",
                     path, done, done * RECORD, label, LABELS - 1);
            labels[source->count + done] = map[label];
        }
    }
    cifar->files[cifar->file_count].name = name;
    cifar->files[cifar->file_count].fd = fd;
    cifar->files[cifar->file_count].first = source->count;
    cifar->files[cifar->file_count++].count = count;
    source->count += count;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    free(buffer);
    free(path);
    return err;
}

err_t data_open_cifar10(data_source_t *source, const data_spec_t *spec)
{
    err_t err = ERR_OK;
    int32_t map[LABELS];
    struct stat st;
    size_t length = strlen(spec->rest);
    bool train = length > 6 && !strcmp(spec->rest + length - 6, ":train");
    bool test = length > 5 && !strcmp(spec->rest + length - 5, ":test");
    cifar10_t *cifar = xcalloc(1, sizeof *cifar);
    source->kind = &kind;
    source->state = cifar;
    cifar->folder = xasprintf("%.*s", (int)(length - (train ? 6u : test ? 5u : 0u)), spec->rest);
    if (stat(cifar->folder, &st) || !S_ISDIR(st.st_mode))
        FAIL(ERR_CONFIG, "%s: no folder %s: check the path", spec->whole, cifar->folder);
    TRY(read_classes(map, source, spec, cifar->folder));
    for (size_t f = test ? FILES - 1 : 0; f < (train ? FILES - 1 : FILES); f++) {
        TRY(add_file(source, file_names[f], map));
        if (f < FILES - 1 || test)
            source->train_count = source->count;
    }
out:
    return err;
}
