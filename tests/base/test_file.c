/* Files that are whole or not there, and what is left after each failure. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/support/harness.h"

static const char *in(const char *dir, const char *name)
{
    static char buffers[4][512];
    static size_t next;
    char *buffer = buffers[next++ % 4];
    snprintf(buffer, sizeof buffers[0], "%s/%s", dir, name);
    return buffer;
}

static void assert_content(const char *path, const char *expected)
{
    unsigned char *data = NULL;
    size_t size = 0;
    assert_ok(file_read(&data, &size, path, 4096));
    assert_int_equal(size, strlen(expected));
    assert_string_equal((char *)data, expected);
    free(data);
}

static void a_committed_file_replaces_the_old_one(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "model");
    file_writer_t *writer = NULL;
    assert_ok(file_write(path, "old", 3));
    assert_ok(file_writer_open(&writer, path));
    assert_ok(file_writer_add(writer, "ne", 2));
    assert_ok(file_writer_add(writer, "wer", 3));
    assert_content(path, "old"); /* nothing shows before the commit */
    assert_ok(file_writer_commit(&writer));
    assert_null(writer);
    assert_content(path, "newer");
}

static void assert_old_file_alone(const char *path)
{
    char temporary[600];
    struct stat st;
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    assert_content(path, "old");
    assert_int_equal(lstat(temporary, &st), -1);
}

static void an_abandoned_file_leaves_the_old_one(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "model");
    file_writer_t *writer = NULL;
    assert_ok(file_write(path, "old", 3));
    assert_ok(file_writer_open(&writer, path));
    assert_ok(file_writer_add(writer, "new", 3));
    file_writer_abandon(&writer);
    assert_null(writer);
    file_writer_abandon(&writer);
    assert_old_file_alone(path);
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "model");
    char temporary[600], message[700];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    assert_ok(file_write(path, "old", 3));
    struct rlimit before, one_byte;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    one_byte = before;
    one_byte.rlim_cur = 1; /* as good as a full disk, with another word for it */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &one_byte), 0);
    err_t err = file_write(path, "new", 3);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    snprintf(message, sizeof message, "write %s: File too large", temporary);
    assert_fails(err, ERR_IO, message);
    assert_old_file_alone(path);
}

/* What somebody put there under the temporary's name is removed, not followed or waited for. */
static void a_temporary_of_others_is_not_written_to(void **state)
{
    (void)state;
    const char *dir = test_dir(), *path = in(dir, "model"), *other = in(dir, "other");
    const char *temporary = in(dir, "model.tmp");
    assert_ok(file_write(other, "old", 3));
    assert_int_equal(symlink("other", temporary), 0);
    assert_ok(file_write(path, "new", 3));
    assert_content(path, "new");
    assert_content(other, "old");
    assert_int_equal(mkfifo(temporary, 0600), 0);
    assert_ok(file_write(path, "newer", 5));
    assert_content(path, "newer");
}

static void a_folder_is_not_replaced(void **state)
{
    (void)state;
    const char *dir = test_dir(), *path = in(dir, "folder"), *inside = in(dir, "folder/x");
    char message[1300];
    assert_ok(file_make_folder(path));
    assert_ok(file_write(inside, "old", 3));
    snprintf(message, sizeof message, "write %s: is a folder, not a file", path);
    assert_fails(file_write(path, "new", 3), ERR_IO, message);
    assert_content(inside, "old");
    snprintf(message, sizeof message, "%s.tmp", path);
    assert_false(file_exists(message));
}

static void what_is_no_regular_file_is_neither_replaced_nor_read(void **state)
{
    (void)state;
    const char *dir = test_dir(), *fifo = in(dir, "fifo"), *link = in(dir, "link");
    char message[700];
    unsigned char *data = NULL;
    size_t size = 0;
    struct stat st;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink("fifo", link), 0);
    snprintf(message, sizeof message, "write %s: is not a regular file", fifo);
    assert_fails(file_write(fifo, "new", 3), ERR_IO, message);
    snprintf(message, sizeof message, "write %s: is not a regular file", link);
    assert_fails(file_write(link, "new", 3), ERR_IO, message);
    snprintf(message, sizeof message, "open %s: is not a regular file", fifo);
    assert_fails(file_read(&data, &size, fifo, 10), ERR_IO, message); /* and does not wait */
    assert_int_equal(lstat(fifo, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(unlink(fifo), 0);
    snprintf(message, sizeof message,
             "write %s: a link that leads nowhere: No such file or directory", link);
    assert_fails(file_write(link, "new", 3), ERR_IO, message);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_false(file_exists(fifo));
}

static void a_link_stays_and_its_file_is_replaced(void **state)
{
    (void)state;
    const char *dir = test_dir(), *file = in(dir, "folder/file"), *link = in(dir, "link");
    struct stat st;
    assert_ok(file_make_folder(in(dir, "folder")));
    assert_ok(file_write(file, "old", 3));
    assert_int_equal(symlink("folder/file", link), 0);
    assert_ok(file_write(link, "new", 3));
    assert_content(file, "new");
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void one_file_of_two_names_is_the_same(void **state)
{
    (void)state;
    const char *dir = test_dir(), *a = in(dir, "a"), *b = in(dir, "b");
    assert_false(file_same(a, a)); /* it is not there */
    assert_ok(file_write(a, "a", 1));
    assert_ok(file_write(b, "a", 1));
    assert_true(file_same(a, a));
    assert_false(file_same(a, b));
    assert_int_equal(unlink(b), 0);
    assert_int_equal(link(a, b), 0);
    assert_true(file_same(a, b));
    assert_int_equal(unlink(b), 0);
    assert_int_equal(symlink("a", b), 0);
    assert_true(file_same(a, b));
}

static void a_file_that_cannot_be_opened_is_named(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char message[700];
    file_writer_t *writer = NULL;
    unsigned char *data = NULL;
    size_t size = 0;
    snprintf(message, sizeof message, "write %s/no/x.tmp: No such file or directory", dir);
    assert_fails(file_writer_open(&writer, in(dir, "no/x")), ERR_IO, message);
    assert_null(writer);
    snprintf(message, sizeof message, "open %s/x: No such file or directory", dir);
    assert_fails(file_read(&data, &size, in(dir, "x"), 10), ERR_IO, message);
    snprintf(message, sizeof message, "open %s: is a folder, not a file", dir);
    assert_fails(file_read(&data, &size, dir, 10), ERR_IO, message);
    snprintf(message, sizeof message, "%s/x: No such file or directory", dir);
    assert_fails(file_size(&size, in(dir, "x")), ERR_IO, message);
    assert_null(data);
}

static void a_file_above_the_limit_is_not_read(void **state)
{
    (void)state;
    const char *path = in(test_dir(), "x");
    char message[700];
    unsigned char *data = NULL;
    size_t size = 0;
    assert_ok(file_write(path, "12345", 5));
    snprintf(message, sizeof message, "%s: 5 bytes, more than the 4 that such a file may have",
             path);
    assert_fails(file_read(&data, &size, path, 4), ERR_FORMAT, message);
    assert_null(data);
    assert_ok(file_read(&data, &size, path, 5));
    assert_int_equal(size, 5);
    assert_int_equal(data[5], 0);
    free(data);
    assert_ok(file_size(&size, path));
    assert_int_equal(size, 5);
}

static void folders_are_made_with_those_above(void **state)
{
    (void)state;
    const char *dir = test_dir(), *deep = in(dir, "a/b/c");
    char message[700];
    assert_ok(file_make_folder(deep));
    assert_true(file_exists(deep));
    assert_ok(file_make_folder(deep));
    assert_ok(file_write(in(dir, "file"), "", 0));
    snprintf(message, sizeof message,
             "make folder %s/file: something that is not a folder has that name", dir);
    assert_fails(file_make_folder(in(dir, "file")), ERR_IO, message);
    snprintf(message, sizeof message, "make folder %s/file/x: Not a directory", dir);
    assert_fails(file_make_folder(in(dir, "file/x")), ERR_IO, message);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_committed_file_replaces_the_old_one),
    cmocka_unit_test(an_abandoned_file_leaves_the_old_one),
    cmocka_unit_test(a_full_disk_leaves_the_old_file),
    cmocka_unit_test(a_temporary_of_others_is_not_written_to),
    cmocka_unit_test(a_folder_is_not_replaced),
    cmocka_unit_test(what_is_no_regular_file_is_neither_replaced_nor_read),
    cmocka_unit_test(a_link_stays_and_its_file_is_replaced),
    cmocka_unit_test(one_file_of_two_names_is_the_same),
    cmocka_unit_test(a_file_that_cannot_be_opened_is_named),
    cmocka_unit_test(a_file_above_the_limit_is_not_read),
    cmocka_unit_test(folders_are_made_with_those_above),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
