/* libFuzzer target: bytes as a coded model. The first byte picks codec and table, and whether the
 * object is cut or filled up to its right size; what is taken must be finite and, written again, be
 * taken again.
 *   build/fuzz/tests/fuzz/fuzz_codec -max_total_time=60 CORPUS */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "gossip/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLOATS = 71 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static gossip_segment_t small[] = {{"conv", GOSSIP_WEIGHTS, 0, 24, 3, -1},
                                       {"gamma", GOSSIP_WEIGHTS, 24, 4, 4, -1},
                                       {"mean", GOSSIP_MEAN, 28, 4, 4, 0},
                                       {"variance", GOSSIP_VARIANCE, 32, 4, 4, 0},
                                       {"dense", GOSSIP_WEIGHTS, 36, 35, 5, -1}};
    static const double keeps[] = {0.01, 0.1, 0.25, 1.0};
    if (size < 1)
        return 0;
    gossip_codec_t codec = {(gossip_codec_kind_t)(data[0] % 6), keeps[data[0] >> 6], 3};
    gossip_table_t table = {small, data[0] & 32 ? 5 : 2, data[0] & 32 ? FLOATS : 28};
    size_t right = gossip_codec_bytes(&codec, &table);
    size_t given = data[0] & 16 ? right : size - 1;
    uint8_t *object = calloc(given + 1, 1), *again = malloc(right);
    float values[FLOATS];
    double residual = 0;
    CHECK(object && again);
    memcpy(object, data + 1, given < size - 1 ? given : size - 1);
    if (gossip_codec_decode(values, &residual, object, given, &table, &codec, 1, 4)) {
        for (size_t i = 0; i < table.floats; i++)
            CHECK(isfinite(values[i]));
        CHECK(gossip_codec_encode(again, values, &table, &codec, 1, 4));
        CHECK(gossip_codec_decode(values, &residual, again, right, &table, &codec, 1, 4));
    }
    free(object);
    free(again);
    return 0;
}
