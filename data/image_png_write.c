/* Writes PNG files; image_png.c reads them. */
#include <errno.h>
#include <string.h>

#include <png.h>

#include "data/image.h"

err_t image_write_png(const char *path, const uint8_t *pixels, size_t height, size_t width)
{
    err_t err = ERR_OK;
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    CHECK(height >= 1 && width >= 1 && height <= IMAGE_SIDE_MAX && width <= IMAGE_SIDE_MAX);
    errno = 0;
    if (!png_image_write_to_file(&png, path, 0, pixels, 0, NULL))
        FAIL(ERR_IO, "write %s: %s", path, errno ? strerror(errno) : png.message);
out:
    png_image_free(&png);
    return err;
}
