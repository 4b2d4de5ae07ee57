#include "tests/data/pictures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#include "base/file.h"
#include "tests/support/harness.h"

const char *path_in(const char *dir, const char *name)
{
    static char buffers[8][512];
    static size_t next;
    char *buffer = buffers[next++ % 8];
    snprintf(buffer, sizeof buffers[0], "%s/%s", dir, name);
    return buffer;
}

void write_bytes(const char *path, const void *data, size_t size)
{
    assert_ok(file_write(path, data, size));
}

size_t size_of(const char *path)
{
    size_t size = 0;
    assert_ok(file_size(&size, path));
    return size;
}

void cut_file(const char *path, size_t keep)
{
    unsigned char *data = NULL;
    size_t size = 0;
    assert_ok(file_read(&data, &size, path, 1 << 24));
    assert_true(keep <= size);
    write_bytes(path, data, keep);
    free(data);
}

void write_jpeg(const char *path, const uint8_t *pixels, size_t height, size_t width,
                int components)
{
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct jpeg = {.err = jpeg_std_error(&errors)};
    unsigned char *data = NULL;
    unsigned long size = 0;
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &size);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = components;
    jpeg.in_color_space = components == 3 ? JCS_RGB : components == 1 ? JCS_GRAYSCALE : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    for (size_t y = 0; y < height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + y * width * (size_t)components);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    write_bytes(path, data, size);
    free(data);
}

void write_png(const char *path, const uint8_t *rows, size_t height, size_t width, int colour_type,
               int depth, int interlaced)
{
    static const png_color palette[3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}};
    static const png_byte alpha[3] = {255, 128, 255};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    FILE *file = fopen(path, "wbe");
    assert_non_null(file);
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, depth, colour_type,
                 interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    if (colour_type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 3);
        png_set_tRNS(png, info, alpha, 3, NULL);
    }
    png_write_info(png, info);
    size_t stride = png_get_rowbytes(png, info);
    png_bytepp pointers = calloc(height, sizeof *pointers);
    for (size_t y = 0; y < height; y++)
        pointers[y] = (png_bytep)(uintptr_t)(rows + y * stride);
    png_write_image(png, pointers);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    free(pointers);
    fclose(file);
}

void write_plain_png(const char *path, size_t side, uint8_t red, uint8_t green, uint8_t blue)
{
    uint8_t *pixels = malloc(side * side * 3);
    char *folder = strdup(path);
    *strrchr(folder, '/') = '\0';
    assert_ok(file_make_folder(folder));
    for (size_t i = 0; i < side * side; i++) {
        pixels[3 * i] = red;
        pixels[3 * i + 1] = green;
        pixels[3 * i + 2] = blue;
    }
    write_png(path, pixels, side, side, PNG_COLOR_TYPE_RGB, 8, 0);
    free(folder);
    free(pixels);
}

void write_cifar10(const char *dir, size_t records)
{
    static const char names[] = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\n"
                                "truck\n\n";
    unsigned char *data = malloc(records * 3073);
    for (size_t f = 0; f < 6; f++) {
        char name[32] = "test_batch.bin";
        if (f < 5)
            snprintf(name, sizeof name, "data_batch_%zu.bin", f + 1);
        for (size_t i = 0; i < records; i++) {
            unsigned char *record = data + i * 3073;
            record[0] = (unsigned char)((f + i) % 10);
            memset(record + 1, (int)f, 1024);
            memset(record + 1025, (int)i, 1024);
            memset(record + 2049, 200, 1024);
        }
        write_bytes(path_in(dir, name), data, records * 3073);
    }
    write_bytes(path_in(dir, "batches.meta.txt"), names, sizeof names - 1);
    free(data);
}

const char *text(const char *format, ...)
{
    static char buffers[4][2048];
    static size_t next;
    char *buffer = buffers[next++ % 4];
    va_list args;
    va_start(args, format);
    vsnprintf(buffer, sizeof buffers[0], format, args);
    va_end(args);
    return buffer;
}

data_source_t *open_ok(const char *spec)
{
    data_source_t *source = NULL;
    assert_ok(data_source_open(&source, spec, NULL, 0));
    return source;
}

void assert_no_source(const char *spec, const char *const *classes, size_t class_count, err_t code,
                      const char *expected)
{
    data_source_t *source = NULL;
    assert_fails(data_source_open(&source, spec, classes, class_count), code, expected);
    assert_null(source);
}

void assert_name(const data_source_t *source, size_t i, const char *expected)
{
    char name[1024];
    data_source_item_name(source, i, name, sizeof name);
    assert_string_equal(name, expected);
}

const char *real_data(const char *name)
{
    const char *root = getenv("HEARSAY_DATA");
    if (!root || !file_exists(path_in(root, name))) {
        print_message("skipped: HEARSAY_DATA does not name a folder that holds %s\n", name);
        skip();
    }
    return path_in(root, name);
}
