/* The only file that calls libjpeg. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include "data/image.h"

typedef struct {
    struct jpeg_error_mgr errors; /* first: libjpeg hands us a pointer to it */
    jmp_buf give_up;
    char message[JMSG_LENGTH_MAX];
} jpeg_errors_t;

static _Noreturn void give_up(j_common_ptr jpeg)
{
    jpeg_errors_t *errors = (jpeg_errors_t *)(void *)jpeg->err;
    jpeg->err->format_message(jpeg, errors->message);
    longjmp(errors->give_up, 1);
}

/* Level -1 is a warning: the data are corrupt and libjpeg would make something up for them. */
static void on_message(j_common_ptr jpeg, int level)
{
    if (level < 0)
        give_up(jpeg);
}

/* Everything that may longjmp. The caller owns `jpeg` and destroys it. */
static err_t decode(struct jpeg_decompress_struct *jpeg, image_t *image, const unsigned char *data,
                    size_t size, const char *name)
{
    err_t err = ERR_OK;
    jpeg_mem_src(jpeg, data, size);
    jpeg_read_header(jpeg, TRUE);
    size_t height = jpeg->image_height, width = jpeg->image_width;
    if (height > IMAGE_SIDE_MAX || width > IMAGE_SIDE_MAX || height * width > IMAGE_PIXELS_MAX)
        FAIL(ERR_FORMAT, "%s: a JPEG of %zux%zu pixels, more than %d a side or %d million in all",
             name, width, height, IMAGE_SIDE_MAX, IMAGE_PIXELS_MAX / 1000000);
    if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK)
        FAIL(ERR_FORMAT, "%s: a CMYK JPEG: save it as RGB", name);
    TRY(image_reserve(image, height, width));
    jpeg->out_color_space = JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW; /* the same bits with and without SIMD */
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = image->pixels + (size_t)jpeg->output_scanline * width * 3;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_decompress(jpeg);
out:
    return err;
}

err_t image_decode_jpeg(image_t *image, const unsigned char *data, size_t size, const char *name)
{
    err_t err = ERR_OK;
    jpeg_errors_t errors = {.message = ""};
    struct jpeg_decompress_struct jpeg = {.err = jpeg_std_error(&errors.errors)};
    errors.errors.error_exit = give_up;
    errors.errors.emit_message = on_message;
    if (setjmp(errors.give_up)) {
        jpeg_destroy_decompress(&jpeg);
        return err_set(ERR_FORMAT, "%s: damaged JPEG: %s", name, errors.message);
    }
    jpeg_create_decompress(&jpeg);
    err = decode(&jpeg, image, data, size, name);
    jpeg_destroy_decompress(&jpeg);
    return err;
}
