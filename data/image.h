/* data/image.h: one decoded picture, from the bytes of a JPEG or PNG file or drawn.
 *
 * Decoders take hostile bytes: sizes are bounded before anything is reserved, and whatever a
 * library only warns about (a file that ends early, corrupt data) is an error here. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    IMAGE_SIDE_MAX = 16384,          /* pixels, each side */
    IMAGE_PIXELS_MAX = 100000000,    /* pixels in all: 300 MB decoded */
    IMAGE_FILE_BYTES_MAX = 256 << 20 /* of a picture file */
};

typedef struct {
    size_t height, width;
    uint8_t *pixels;       /* (height, width, 3), owned */
    size_t capacity_bytes; /* of `pixels`: kept from one picture to the next */
} image_t;

/* Makes room for height x width; what `pixels` held is lost. ERR_MEMORY. */
err_t image_reserve(image_t *image, size_t height, size_t width);
void image_free(image_t *image);

/* Decode `size` bytes into `image`. `name` stands in messages. ERR_FORMAT, ERR_MEMORY.
 * JPEG: gray and YCbCr, baseline and progressive; CMYK is refused. EXIF orientation is not applied.
 * PNG: every colour type and depth, interlaced or not; transparent parts are laid over white, in
 * the stored values; gamma and colour profiles are not applied. */
err_t image_decode_jpeg(image_t *image, const unsigned char *data, size_t size, const char *name);
err_t image_decode_png(image_t *image, const unsigned char *data, size_t size, const char *name);

/* A file, JPEG or PNG by its first bytes. ERR_IO when it cannot be read, else as above. */
err_t image_read(image_t *image, const char *path);

/* Writes a PNG file of 8-bit RGB.
 *   in pixels (height,width,3)
 * ERR_IO; a file cut short may be left. */
err_t image_write_png(const char *path, const uint8_t *pixels, size_t height, size_t width);

/* Stretches to size x size, each axis by itself: where it shrinks, the exact average of the area
 * that falls into an output pixel; where it grows, linear between pixel centres, clamped at the
 * border (PyTorch's interpolate, bilinear, align_corners=False). Same size is a copy.
 *   out pixels (size,size,3)
 *   in  image  height, width >= 1
 * ERR_MEMORY. */
err_t image_resize(uint8_t *pixels, size_t size, const image_t *image);
