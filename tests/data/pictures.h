/* tests/data/pictures.h: makes picture files and data sets for the tests, at test time. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "data/source.h"

/* "DIR/NAME" in one of eight static buffers. */
const char *path_in(const char *dir, const char *name);

/* Files of these bytes. */
void write_bytes(const char *path, const void *data, size_t size);
/* The first `keep` bytes of what is there. */
void cut_file(const char *path, size_t keep);
size_t size_of(const char *path);

/* RGB (components 3), gray (1) or CMYK (4), quality 95. */
void write_jpeg(const char *path, const uint8_t *pixels, size_t height, size_t width,
                int components);
/* `colour_type` and `depth` as in the PNG standard; `rows` packed as the file wants them. A palette
 * PNG has colours 0 = red, 1 = green (half transparent), 2 = blue. */
void write_png(const char *path, const uint8_t *rows, size_t height, size_t width, int colour_type,
               int depth, int interlaced);

/* A picture of one colour as PNG, made with the folders above it. */
void write_plain_png(const char *path, size_t side, uint8_t red, uint8_t green, uint8_t blue);

/* CIFAR-10's folder with `records` records in each of its six files; in file f (5 is the test
 * batch) record i has label (f + i) % 10 and red f, green i, blue 200 in every pixel. */
void write_cifar10(const char *dir, size_t records);

/* printf into one of four static buffers, for expected messages. */
const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Opens a SPEC that is right. */
data_source_t *open_ok(const char *spec);
/* Asserts that a SPEC fails with this code and exactly this message. */
void assert_no_source(const char *spec, const char *const *classes, size_t class_count, err_t code,
                      const char *expected);
/* Asserts what picture i is called. */
void assert_name(const data_source_t *source, size_t i, const char *expected);

/* The folder `name` in $HEARSAY_DATA; skips the calling test with a line when it is not there. */
const char *real_data(const char *name);
