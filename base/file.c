#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_writer_s {
    char *path;      /* the name it will have, owned */
    char *temporary; /* PATH.tmp, owned */
    int fd;          /* of the temporary, -1 when closed */
};

char *file_expand_home(const char *path)
{
    const char *home = getenv("HOME");
    return path[0] == '~' && path[1] == '/' && home ? xasprintf("%s%s", home, path + 1)
                                                    : xstrdup(path);
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool file_same(const char *a, const char *b)
{
    struct stat first, second;
    return !stat(a, &first) && !stat(b, &second) && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

err_t file_size(size_t *size, const char *path)
{
    err_t err = ERR_OK;
    struct stat st;
    if (stat(path, &st))
        FAIL(ERR_IO, "%s: %s", path, strerror(errno));
    *size = (size_t)st.st_size;
out:
    return err;
}

err_t file_make_folder(const char *path)
{
    err_t err = ERR_OK;
    char *copy = xstrdup(path);
    struct stat st;
    if (!*path)
        FAIL(ERR_IO, "make a folder: it has no name");
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        if (mkdir(copy, 0777) && errno != EEXIST)
            FAIL(ERR_IO, "make folder %s: %s", copy, strerror(errno));
        if (end == '\0')
            break;
        *p = end;
    }
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        FAIL(ERR_IO, "make folder %s: something that is not a folder has that name", path);
out:
    free(copy);
    return err;
}

err_t file_read(unsigned char **data, size_t *size, const char *path, size_t limit_bytes)
{
    err_t err = ERR_OK;
    unsigned char *buffer = NULL;
    size_t done = 0;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait for a writer */
    if (fd < 0 || fstat(fd, &st))
        FAIL(ERR_IO, "open %s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        FAIL(ERR_IO, "open %s: is a folder, not a file", path);
    if (!S_ISREG(st.st_mode))
        FAIL(ERR_IO, "open %s: is not a regular file", path);
    if (st.st_size < 0 || (size_t)st.st_size > limit_bytes)
        FAIL(ERR_FORMAT, "%s: %lld bytes, more than the %zu that such a file may have", path,
             (long long)st.st_size, limit_bytes);
    buffer = malloc((size_t)st.st_size + 1);
    if (!buffer)
        FAIL(ERR_MEMORY, "%s: no memory for %lld bytes", path, (long long)st.st_size);
    while (done < (size_t)st.st_size) {
        ssize_t n = read(fd, buffer + done, (size_t)st.st_size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            FAIL(ERR_IO, "read %s: %s", path, strerror(errno));
        if (n == 0)
            break;
        done += (size_t)n;
    }
    buffer[done] = '\0';
    *data = buffer;
    *size = done;
    buffer = NULL;
out:
    free(buffer);
    if (fd >= 0)
        close(fd);
    return err;
}

/* Where a file called `path` is put (owned): itself, or what it links to. Renaming replaces
 * anything but a folder, a device of the system too: only a regular file may be there. */
static err_t find_place(char **place, const char *path)
{
    err_t err = ERR_OK;
    struct stat st;
    *place = NULL;
    if (lstat(path, &st)) /* not there, or what opening will say */
        *place = xstrdup(path);
    else if (stat(path, &st))
        FAIL(ERR_IO, "write %s: a link that leads nowhere: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        FAIL(ERR_IO, "write %s: is a folder, not a file", path);
    else if (!S_ISREG(st.st_mode))
        FAIL(ERR_IO, "write %s: is not a regular file", path);
    else if (!(*place = realpath(path, NULL)))
        FAIL(ERR_IO, "write %s: %s", path, strerror(errno));
out:
    return err;
}

err_t file_writer_open(file_writer_t **writer, const char *path)
{
    err_t err = ERR_OK;
    file_writer_t *w = xcalloc(1, sizeof *w);
    *writer = NULL;
    w->fd = -1;
    TRY(find_place(&w->path, path));
    w->temporary = xasprintf("%s.tmp", w->path);
    unlink(w->temporary); /* what an earlier writer left, or something else: it is not written to */
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (w->fd < 0)
        FAIL(ERR_IO, "write %s: %s", w->temporary, strerror(errno));
    *writer = w;
    return ERR_OK;
out:
    free(w->path);
    free(w->temporary);
    free(w);
    return err;
}

err_t file_writer_add(file_writer_t *writer, const void *data, size_t size)
{
    err_t err = ERR_OK;
    const unsigned char *bytes = data;
    while (size > 0) {
        ssize_t n = write(writer->fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            FAIL(ERR_IO, "write %s: %s", writer->temporary, strerror(errno));
        bytes += n;
        size -= (size_t)n;
    }
out:
    return err;
}

static err_t sync_folder_of(const char *path)
{
    err_t err = ERR_OK;
    char *copy = xstrdup(path);
    const char *folder = dirname(copy);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        FAIL(ERR_IO, "sync folder %s: %s", folder, strerror(errno));
out:
    if (fd >= 0)
        close(fd);
    free(copy);
    return err;
}

err_t file_writer_commit(file_writer_t **writer)
{
    err_t err = ERR_OK;
    file_writer_t *w = *writer;
    int fd = w->fd;
    if (fsync(fd))
        FAIL(ERR_IO, "sync %s: %s", w->temporary, strerror(errno));
    w->fd = -1; /* closed whatever close says */
    if (close(fd))
        FAIL(ERR_IO, "close %s: %s", w->temporary, strerror(errno));
    if (rename(w->temporary, w->path))
        FAIL(ERR_IO, "rename %s to %s: %s", w->temporary, w->path, strerror(errno));
    err = sync_folder_of(w->path);
    free(w->path);
    free(w->temporary);
    free(w);
    *writer = NULL;
    return err;
out:
    file_writer_abandon(writer);
    return err;
}

void file_writer_abandon(file_writer_t **writer)
{
    file_writer_t *w = *writer;
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    unlink(w->temporary);
    free(w->path);
    free(w->temporary);
    free(w);
    *writer = NULL;
}

err_t file_write(const char *path, const void *data, size_t size)
{
    err_t err = ERR_OK;
    file_writer_t *writer = NULL;
    TRY(file_writer_open(&writer, path));
    TRY(file_writer_add(writer, data, size));
    TRY(file_writer_commit(&writer));
out:
    file_writer_abandon(&writer);
    return err;
}
