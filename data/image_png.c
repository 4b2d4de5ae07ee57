/* Reads PNG files; image_png_write.c writes them. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "data/image.h"

typedef struct {
    const unsigned char *data; /* what is left to read */
    size_t left_bytes;
    const char *name;
    unsigned char *rgba; /* (height, width, 4), owned */
    png_bytep *rows;     /* into rgba, owned */
    char message[128];
} png_state_t;

static _Noreturn void give_up(png_structp png, png_const_charp message)
{
    png_state_t *state = png_get_error_ptr(png);
    strncpy(state->message, message, sizeof state->message - 1);
    png_longjmp(png, 1);
}

/* libpng warns about what does not touch the pixels (a known wrong colour profile, say). */
static void on_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static void read_bytes(png_structp png, png_bytep out, size_t size)
{
    png_state_t *state = png_get_io_ptr(png);
    if (size > state->left_bytes)
        png_error(png, "the file ends early");
    memcpy(out, state->data, size);
    state->data += size;
    state->left_bytes -= size;
}

/* Whatever colour type and depth the file has, rows come out as 8 bit RGBA. */
static void ask_for_rgba(png_structp png)
{
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
    png_set_interlace_handling(png);
}

static void lay_over_white(uint8_t *rgb, const unsigned char *rgba, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned alpha = rgba[4 * i + 3];
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)((alpha * rgba[4 * i + c] + (255 - alpha) * 255 + 127) / 255);
    }
}

/* Everything that may longjmp. The caller owns all it is given. */
static err_t decode(png_structp png, png_infop info, png_state_t *state, image_t *image)
{
    err_t err = ERR_OK;
    png_set_read_fn(png, state, read_bytes);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff); /* ours are checked below, with our words */
    png_read_info(png, info);
    size_t height = png_get_image_height(png, info), width = png_get_image_width(png, info);
    if (height > IMAGE_SIDE_MAX || width > IMAGE_SIDE_MAX || height * width > IMAGE_PIXELS_MAX)
        FAIL(ERR_FORMAT, "%s: a PNG of %zux%zu pixels, more than %d a side or %d million in all",
             state->name, width, height, IMAGE_SIDE_MAX, IMAGE_PIXELS_MAX / 1000000);
    ask_for_rgba(png);
    png_read_update_info(png, info);
    CHECK(png_get_rowbytes(png, info) == width * 4);
    state->rgba = malloc(height * width * 4);
    state->rows = malloc(height * sizeof *state->rows);
    if (!state->rgba || !state->rows)
        FAIL(ERR_MEMORY, "%s: no memory for %zux%zu pixels", state->name, width, height);
    for (size_t y = 0; y < height; y++)
        state->rows[y] = state->rgba + y * width * 4;
    png_read_image(png, state->rows);
    png_read_end(png, NULL);
    TRY(image_reserve(image, height, width));
    lay_over_white(image->pixels, state->rgba, height * width);
out:
    return err;
}

err_t image_decode_png(image_t *image, const unsigned char *data, size_t size, const char *name)
{
    err_t err = ERR_OK;
    png_structp png = NULL;
    png_infop info = NULL;
    png_state_t state = {.data = data, .left_bytes = size, .name = name};
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, give_up, on_warning);
    if (png)
        info = png_create_info_struct(png);
    if (!info)
        err = err_set(ERR_MEMORY, "%s: no memory to read a PNG", name);
    else if (setjmp(png_jmpbuf(png)))
        err = err_set(ERR_FORMAT, "%s: damaged PNG: %s", name, state.message);
    else
        err = decode(png, info, &state, image);
    png_destroy_read_struct(&png, &info, NULL);
    free(state.rgba);
    free(state.rows);
    return err;
}
