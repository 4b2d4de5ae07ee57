/* Writes a corpus of good frames for fuzz_messages into a folder: make_messages FOLDER */
#include <stdio.h>
#include <stdlib.h>

#include "gossip/codec.h"
#include "gossip/state.h"
#include "tests/gossip/frames.h"

/* One record, and the byte that picks the codec (fuzz_messages.c). */
static void save_coded(const char *folder, const char *name, uint8_t how, uint8_t *frame,
                       size_t size, uint8_t codec)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file)
        abort();
    uint8_t head[3] = {how, (uint8_t)(size >> 8), (uint8_t)size};
    fwrite(head, 1, 3, file);
    fwrite(frame, 1, size, file);
    fwrite(&codec, 1, 1, file);
    fclose(file);
    free(frame);
}

static void save(const char *folder, const char *name, uint8_t how, uint8_t *frame, size_t size)
{
    save_coded(folder, name, how, frame, size, 0);
}

/* A whole object of the neighbour as one chunk. */
static void save_object(frames_t *f, const char *folder, const char *name, wire_type_t type,
                        const gossip_codec_t *codec)
{
    _Alignas(8) uint8_t bytes[128];
    size_t size = gossip_codec_bytes(codec, &f->g->config.table), frame_size = 0;
    CHECK(size <= sizeof bytes);
    CHECK(gossip_codec_encode(bytes, f->values, &f->g->config.table, codec, 1, 1));
    wire_chunk_t chunk = frames_chunk(f);
    hash_t part = hash_bytes(bytes, size), digest = hash_bytes(&part, sizeof part);
    memcpy(chunk.part, part.bytes, HASH_BYTES);
    memcpy(chunk.digest, digest.bytes, HASH_BYTES);
    chunk.object.type = type;
    chunk.size = size;
    chunk.payload = (wire_view_t){bytes, size};
    uint8_t *frame = wire_pack_chunk(&frame_size, &chunk);
    save_coded(folder, name, 0x28 | GOSSIP_DATA, frame, frame_size,
               codec->kind == GOSSIP_CODEC_INT8 ? 1 : 2);
}

/* What ben sends with the other algorithms: a model with its age, and push-sum's sums. */
static void save_algorithms(const char *folder, frames_t *f)
{
    size_t size = 0;
    wire_chunk_t chunk = frames_chunk(f);
    chunk.age = 2;
    save_coded(folder, "aged", 0x28 | GOSSIP_DATA, wire_pack_chunk(&size, &chunk), size,
               4 * GOSSIP_ASYNC);
    uint8_t sums[8 * (1 + FRAMES_WEIGHTS) + 4 * (FRAMES_FLOATS - FRAMES_WEIGHTS) + 8 + 2 * 16] = {
        0};
    uint8_t *at = sums;
    for (size_t i = 0; i <= FRAMES_WEIGHTS; i++, at += 8)
        memcpy(at, &(double){20.0 + (double)i}, 8);
    memcpy(at, f->values + FRAMES_WEIGHTS, 4 * (FRAMES_FLOATS - FRAMES_WEIGHTS));
    at += 4 * (FRAMES_FLOATS - FRAMES_WEIGHTS);
    wire_put(at, 4, 1);
    wire_put(at + 4, 4, 1);
    wire_put(at + 12, 4, 1); /* ana, since 1, as it started */
    wire_put(at + 16, 8, 5);
    hash_t part = hash_bytes(sums, sizeof sums), digest = hash_bytes(&part, sizeof part);
    chunk.age = 0;
    chunk.size = sizeof sums;
    chunk.payload = (wire_view_t){sums, sizeof sums};
    memcpy(chunk.part, part.bytes, HASH_BYTES);
    memcpy(chunk.digest, digest.bytes, HASH_BYTES);
    save_coded(folder, "sums", 0x28 | GOSSIP_DATA, wire_pack_chunk(&size, &chunk), size,
               4 * GOSSIP_PUSH_SUM);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    frames_t f;
    frames_init(&f);
    size_t size = 0;
    wire_announce_t said = frames_announce(&f);
    save(argv[1], "announce", 0x28 | GOSSIP_CONTROL, wire_pack_announce(&size, &said), size);
    static const wire_kind_t kinds[] = {WIRE_STAGE_1, WIRE_STAGE_2, WIRE_ROLL_1, WIRE_ROLL_2};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char name[16];
        wire_offer_t offer = {.object = {.type = WIRE_RECORD,
                                         .kind = kinds[i],
                                         .origin = 2,
                                         .incarnation = 9,
                                         .number = 1},
                              .size = HASH_BYTES};
        wire_put_offer(f.offer, &offer);
        snprintf(name, sizeof name, "offer-%zu", i);
        save(argv[1], name, 0x28 | GOSSIP_CONTROL, wire_pack_announce(&size, &said), size);
    }
    wire_chunk_t chunk = frames_chunk(&f);
    save(argv[1], "chunk", 0x28 | GOSSIP_DATA, wire_pack_chunk(&size, &chunk), size);
    save(argv[1], "answer", 0x28 | GOSSIP_REPAIR_ANSWER, wire_pack_chunk(&size, &chunk), size);
    save_object(&f, argv[1], "int8", WIRE_MODEL, &(gossip_codec_t){.kind = GOSSIP_CODEC_INT8});
    save_object(&f, argv[1], "topk", WIRE_MODEL, &(gossip_codec_t){GOSSIP_CODEC_TOPK, 0.5, 0});
    save_object(&f, argv[1], "replica", WIRE_REPLICA, &(gossip_codec_t){.kind = GOSSIP_CODEC_FP32});
    uint8_t edge[WIRE_EDGE_BYTES], flags[1] = {1}, present[1] = {3};
    uint8_t sketch[2 * WIRE_SKETCH_BYTES] = {0};
    wire_put_double(edge, 0.25);
    wire_put_double(edge + 8, 0.5);
    for (size_t i = 0; i < 2; i++) {
        uint8_t *at = sketch + i * WIRE_SKETCH_BYTES;
        wire_put(at, 4, 2 - i);
        wire_put(at + 4, 4, 1 + i);
        wire_put(at + 8, 8, 20);
    }
    chunk.object.number = 2;
    chunk.first = 1;
    chunk.edges = (wire_view_t){edge, sizeof edge};
    chunk.flags = (wire_view_t){flags, 1};
    chunk.present = (wire_view_t){present, 1};
    chunk.sketches = (wire_view_t){sketch, sizeof sketch};
    save(argv[1], "certificate", 0x28 | GOSSIP_DATA, wire_pack_chunk(&size, &chunk), size);
    wire_ask_t ask = frames_ask(&f);
    save(argv[1], "ask", 0x28 | GOSSIP_REPAIR_ASK, wire_pack_ask(&size, &ask), size);
    save_algorithms(argv[1], &f);
    frames_free(&f);
    return 0;
}
