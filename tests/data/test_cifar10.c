/* CIFAR-10's binary batches: order, layout, parts, and every way in which they can be bad. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/source.h"
#include "tests/data/pictures.h"
#include "tests/support/harness.h"

static void cifar10_gives_both_parts_in_order(void **state)
{
    (void)state;
    const char *dir = test_dir();
    write_cifar10(dir, 12);
    data_source_t *source = open_ok(text("cifar10:%s", dir));
    assert_int_equal(data_source_count(source), 72);
    assert_int_equal(data_source_train_count(source), 60);
    assert_int_equal(data_source_class_count(source), 10);
    assert_string_equal(data_source_class_names(source)[9], "truck");
    assert_name(source, 0, "data_batch_1.bin[0]");
    assert_name(source, 13, "data_batch_2.bin[1]");
    assert_name(source, 71, "test_batch.bin[11]");
    for (int i = 0; i < 72; i++)
        assert_int_equal(data_source_labels(source)[i], (i / 12 + i % 12) % 10);

    data_set_t set;
    size_t skipped;
    assert_ok(data_source_load(&set, &skipped, source, (const uint32_t[]){71, 13}, 2, 32,
                               DATA_BAD_STOP, NULL));
    assert_int_equal(set.count, 2);
    assert_int_equal(skipped, 0);
    assert_int_equal(set.labels[0], 6);
    assert_int_equal(set.labels[1], 2);
    for (size_t p = 0; p < 32 * 32; p++) {
        assert_int_equal(set.pixels[3 * p], 5);
        assert_int_equal(set.pixels[3 * p + 1], 11);
        assert_int_equal(set.pixels[3 * p + 2], 200);
    }
    assert_int_equal(set.pixels[3 * 1024], 1);
    data_set_free(&set);
    data_source_close(&source);
    assert_null(source);
}

static void cifar10_planes_become_pixels_row_by_row(void **state)
{
    (void)state;
    const char *dir = test_dir();
    unsigned char record[3073];
    write_cifar10(dir, 1);
    record[0] = 4;
    for (int i = 0; i < 3072; i++)
        record[1 + i] = (unsigned char)(i * 7 + i / 256);
    write_bytes(path_in(dir, "test_batch.bin"), record, sizeof record);
    data_source_t *source = open_ok(text("cifar10:%s:test", dir));
    data_set_t set;
    size_t skipped;
    assert_ok(data_source_load(&set, &skipped, source, (const uint32_t[]){0}, 1, 32, DATA_BAD_STOP,
                               NULL));
    for (size_t p = 0; p < 1024; p++)
        for (size_t c = 0; c < 3; c++)
            assert_int_equal(set.pixels[3 * p + c], record[1 + 1024 * c + p]);
    data_set_free(&set);
    data_source_close(&source);
}

static void cifar10_suffixes_choose_a_part(void **state)
{
    (void)state;
    const char *dir = test_dir();
    write_cifar10(dir, 3);
    data_source_t *source = open_ok(text("cifar10:%s:train", dir));
    assert_int_equal(data_source_count(source), 15);
    assert_int_equal(data_source_train_count(source), 15);
    data_source_close(&source);
    source = open_ok(text("cifar10:%s:test", dir));
    assert_int_equal(data_source_count(source), 3);
    assert_int_equal(data_source_train_count(source), 3);
    assert_name(source, 2, "test_batch.bin[2]");
    data_source_close(&source);
}

static void a_cifar10_file_of_wrong_size_is_refused(void **state)
{
    (void)state;
    const char *dir = test_dir();
    write_cifar10(dir, 3);
    const char *path = path_in(dir, "data_batch_4.bin");
    cut_file(path, 3 * 3073 - 1);
    assert_no_source(text("cifar10:%s", dir), NULL, 0, ERR_FORMAT,
                     text("%s: 9218 bytes are not a whole number of records of 3073 bytes: get it "
                          "anew",
                          path));
    cut_file(path, 0);
    assert_no_source(text("cifar10:%s", dir), NULL, 0, ERR_FORMAT,
                     text("%s: 0 bytes are not a whole number of records of 3073 bytes: get it "
                          "anew",
                          path));
}

static void a_cifar10_label_of_10_is_refused_with_its_place(void **state)
{
    (void)state;
    const char *dir = test_dir();
    write_cifar10(dir, 100);
    const char *path = path_in(dir, "data_batch_2.bin");
    FILE *file = fopen(path, "r+be");
    fseek(file, 70 * 3073, SEEK_SET);
    fputc(10, file);
    fclose(file);
    assert_no_source(text("cifar10:%s", dir), NULL, 0, ERR_FORMAT,
                     text("%s: record 70 (byte 215110) has label 10, CIFAR-10 has 0 to 9", path));
}

static void an_incomplete_cifar10_folder_is_refused(void **state)
{
    (void)state;
    const char *dir = test_dir();
    write_cifar10(dir, 2);
    remove(path_in(dir, "data_batch_5.bin"));
    assert_no_source(
        text("cifar10:%s", dir), NULL, 0, ERR_CONFIG,
        text("%s/data_batch_5.bin is missing: get all of CIFAR-10's binary version", dir));
    write_bytes(path_in(dir, "batches.meta.txt"), "cat\ndog\n", 8);
    assert_no_source(text("cifar10:%s", dir), NULL, 0, ERR_FORMAT,
                     text("%s/batches.meta.txt: 2 class names, CIFAR-10 has 10", dir));
    remove(path_in(dir, "batches.meta.txt"));
    assert_no_source(text("cifar10:%s:test", dir), NULL, 0, ERR_CONFIG,
                     text("%s/batches.meta.txt is missing: cifar10 needs the folder of CIFAR-10's "
                          "binary version, with data_batch_1.bin to data_batch_5.bin, "
                          "test_batch.bin and batches.meta.txt",
                          dir));
    assert_no_source(text("cifar10:%s/no", dir), NULL, 0, ERR_CONFIG,
                     text("cifar10:%s/no: no folder %s/no: check the path", dir, dir));
}

static void a_cifar10_file_that_shrinks_under_us_is_an_error(void **state)
{
    (void)state;
    const char *dir = test_dir();
    write_cifar10(dir, 4);
    data_source_t *source = open_ok(text("cifar10:%s:test", dir));
    FILE *file = fopen(path_in(dir, "test_batch.bin"), "r+be");
    assert_int_equal(ftruncate(fileno(file), 3073), 0);
    fclose(file);
    data_set_t set;
    size_t skipped;
    assert_fails(
        data_source_load(&set, &skipped, source, (const uint32_t[]){2}, 1, 32, DATA_BAD_STOP, NULL),
        ERR_IO,
        text("read %s/test_batch.bin record 2: the file has become shorter: replace or "
             "remove it",
             dir));
    data_source_close(&source);
}

static void the_real_cifar10_is_read(void **state)
{
    (void)state;
    data_source_t *source = open_ok(text("cifar10:%s", real_data("cifar-10-batches-bin")));
    size_t counts[10] = {0};
    assert_int_equal(data_source_count(source), 60000);
    assert_int_equal(data_source_train_count(source), 50000);
    for (size_t i = 0; i < 60000; i++)
        counts[data_source_labels(source)[i]]++;
    for (int c = 0; c < 10; c++)
        assert_int_equal(counts[c], 6000);
    data_source_close(&source);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(cifar10_gives_both_parts_in_order),
    cmocka_unit_test(cifar10_planes_become_pixels_row_by_row),
    cmocka_unit_test(cifar10_suffixes_choose_a_part),
    cmocka_unit_test(a_cifar10_file_of_wrong_size_is_refused),
    cmocka_unit_test(a_cifar10_label_of_10_is_refused_with_its_place),
    cmocka_unit_test(an_incomplete_cifar10_folder_is_refused),
    cmocka_unit_test(a_cifar10_file_that_shrinks_under_us_is_an_error),
    cmocka_unit_test(the_real_cifar10_is_read),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
