#include "data/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

err_t image_reserve(image_t *image, size_t height, size_t width)
{
    err_t err = ERR_OK;
    size_t bytes = height * width * 3;
    if (bytes > image->capacity_bytes) {
        free(image->pixels);
        image->capacity_bytes = 0;
        image->pixels = malloc(bytes);
        if (!image->pixels)
            FAIL(ERR_MEMORY, "no memory for a picture of %zux%zu pixels", width, height);
        image->capacity_bytes = bytes;
    }
    image->height = height;
    image->width = width;
out:
    return err;
}

void image_free(image_t *image)
{
    free(image->pixels);
    *image = (image_t){0};
}

err_t image_read(image_t *image, const char *path)
{
    err_t err = ERR_OK;
    unsigned char *data = NULL;
    size_t size = 0;
    TRY(file_read(&data, &size, path, IMAGE_FILE_BYTES_MAX));
    if (size == 0)
        FAIL(ERR_FORMAT, "%s: the file is empty", path);
    if (size >= 3 && !memcmp(data, "\xff\xd8\xff", 3))
        TRY(image_decode_jpeg(image, data, size, path));
    else if (size >= 8 && !memcmp(data, "\x89PNG\r\n\x1a\n", 8))
        TRY(image_decode_png(image, data, size, path));
    else
        FAIL(ERR_FORMAT, "%s: neither JPEG nor PNG by its first bytes", path);
out:
    free(data);
    return err;
}
