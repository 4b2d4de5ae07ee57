#include "nn/transpose.h"

#include <string.h>

enum { SIDE = 4 };
typedef float vec4_t __attribute__((vector_size(SIDE * sizeof(float))));

static inline vec4_t load(const float *from)
{
    vec4_t v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, vec4_t v)
{
    memcpy(to, &v, sizeof v);
}

static inline void square(float *to, size_t to_row, const float *from, size_t from_row)
{
    vec4_t a = load(from), b = load(from + from_row);
    vec4_t c = load(from + 2 * from_row), d = load(from + 3 * from_row);
    vec4_t ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    vec4_t cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    store(to, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
    store(to + to_row, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
    ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store(to + 2 * to_row, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
    store(to + 3 * to_row, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
}

/* In strips of 16 columns: a cache line of every row is used up before the next is loaded. */
void nn_transpose(float *to, size_t to_row, const float *from, size_t from_row, size_t rows,
                  size_t cols)
{
    enum { STRIP = 16 };
    const size_t whole_rows = rows - rows % SIDE, whole_cols = cols - cols % SIDE;
    for (size_t strip = 0; strip < whole_cols; strip += STRIP) {
        size_t end = strip + STRIP < whole_cols ? strip + STRIP : whole_cols;
        for (size_t r = 0; r < whole_rows; r += SIDE)
            for (size_t c = strip; c < end; c += SIDE)
                square(to + c * to_row + r, to_row, from + r * from_row + c, from_row);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < whole_rows ? whole_cols : 0; c < cols; c++)
            to[c * to_row + r] = from[r * from_row + c];
}
