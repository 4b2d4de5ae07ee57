#include "gossip/wire.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* -- Fields: one table a message serves packing, unpacking and bounds. -- */

typedef enum { COUNT, FLAG, REAL, FIXED, VIEW, TEXT } field_type_t;

typedef struct {
    const char *key;
    field_type_t type;
    size_t offset;   /* in the message's struct */
    uint64_t lo, hi; /* COUNT: the value; VIEW: hi its most bytes, lo the size of an element; FIXED,
                        TEXT: hi its bytes */
} field_t;

typedef struct {
    const field_t *fields;
    size_t count;
    size_t header_max;
} layout_t;

#define LENGTH(array)    (sizeof(array) / sizeof(array)[0])
#define AT(type, member) offsetof(type, member)

enum { VIEW_MAX = 64 * 1024, BITSET_MAX = GOSSIP_PEERS_MAX / 8 };

#define OBJECT_FIELDS(message)                                                                     \
    {"type", COUNT, AT(message, object.type), WIRE_MODEL, WIRE_REPLICA},                           \
        {"kind", COUNT, AT(message, object.kind), 0, WIRE_ROLL_2},                                 \
        {"origin", COUNT, AT(message, object.origin), 0, GOSSIP_PEERS_MAX - 1},                    \
        {"oinc", COUNT, AT(message, object.incarnation), 0, WIRE_COUNT_MAX},                       \
    {                                                                                              \
        "number", COUNT, AT(message, object.number), 0, UINT32_MAX - 8                             \
    }

static const field_t announce_fields[] = {
    {"v", COUNT, AT(wire_announce_t, version), WIRE_VERSION, WIRE_VERSION},
    {"fed", FIXED, AT(wire_announce_t, federation), 0, HASH_BYTES},
    {"sections", VIEW, AT(wire_announce_t, sections), WIRE_SECTION_BYTES,
     GOSSIP_SECTIONS_MAX *WIRE_SECTION_BYTES},
    {"peer", COUNT, AT(wire_announce_t, peer), 0, GOSSIP_PEERS_MAX - 1},
    {"name", TEXT, AT(wire_announce_t, name), 0, 32},
    {"inc", COUNT, AT(wire_announce_t, incarnation), 1, WIRE_COUNT_MAX - 1},
    {"phase", COUNT, AT(wire_announce_t, phase), 0, WIRE_PHASES - 1},
    {"ex", COUNT, AT(wire_announce_t, exchange), 0, UINT32_MAX - 8},
    {"pub", COUNT, AT(wire_announce_t, publishes), 0, UINT32_MAX - 8},
    {"new", COUNT, AT(wire_announce_t, newest), 0, UINT32_MAX - 8},
    {"prev", COUNT, AT(wire_announce_t, previous), 0, UINT32_MAX - 8},
    {"dig", FIXED, AT(wire_announce_t, digest), 0, HASH_BYTES},
    {"chunks", COUNT, AT(wire_announce_t, chunks), 0, 65536},
    {"n", COUNT, AT(wire_announce_t, samples), 1, WIRE_SAMPLES_MAX},
    {"s", COUNT, AT(wire_announce_t, reach), 1, WIRE_COUNT_MAX},
    {"state", COUNT, AT(wire_announce_t, state), 0, UINT32_MAX - 8},
    {"over", FLAG, AT(wire_announce_t, over), 0, 0},
    {"last", COUNT, AT(wire_announce_t, last), 0, UINT32_MAX - 8},
    {"bye", FLAG, AT(wire_announce_t, goodbye), 0, 0},
    {"alldone", FLAG, AT(wire_announce_t, all_done), 0, 0},
    {"offers", VIEW, AT(wire_announce_t, offers), WIRE_OFFER_BYTES,
     WIRE_OFFERS_MAX *WIRE_OFFER_BYTES},
    {"life", VIEW, AT(wire_announce_t, statuses), WIRE_STATUS_BYTES,
     WIRE_STATUSES_MAX *WIRE_STATUS_BYTES},
    {"decided", COUNT, AT(wire_announce_t, decided), 0, UINT32_MAX - 8},
    {"bound", REAL, AT(wire_announce_t, bound), 0, 0},
    {"present", VIEW, AT(wire_announce_t, present), 1, BITSET_MAX},
};

static const field_t chunk_fields[] = {
    {"v", COUNT, AT(wire_chunk_t, version), WIRE_VERSION, WIRE_VERSION},
    {"fed", FIXED, AT(wire_chunk_t, federation), 0, WIRE_SHORT_BYTES},
    {"peer", COUNT, AT(wire_chunk_t, sender), 0, GOSSIP_PEERS_MAX - 1},
    {"inc", COUNT, AT(wire_chunk_t, incarnation), 1, WIRE_COUNT_MAX - 1},
    OBJECT_FIELDS(wire_chunk_t),
    {"dig", FIXED, AT(wire_chunk_t, digest), 0, HASH_BYTES},
    {"part", FIXED, AT(wire_chunk_t, part), 0, HASH_BYTES},
    {"index", COUNT, AT(wire_chunk_t, index), 0, 65535},
    {"count", COUNT, AT(wire_chunk_t, count), 1, 65536},
    {"size", COUNT, AT(wire_chunk_t, size), 0, UINT64_C(1) << 33},
    {"n", COUNT, AT(wire_chunk_t, samples), 1, WIRE_SAMPLES_MAX},
    {"s", COUNT, AT(wire_chunk_t, reach), 1, WIRE_COUNT_MAX},
    {"age", COUNT, AT(wire_chunk_t, age), 0, WIRE_AGE_MAX},
    {"trained", FLAG, AT(wire_chunk_t, trained), 0, 0},
    {"gone", FLAG, AT(wire_chunk_t, gone), 0, 0},
    {"new", COUNT, AT(wire_chunk_t, newest), 0, UINT32_MAX - 8},
    {"first", COUNT, AT(wire_chunk_t, first), 0, UINT32_MAX - 8},
    {"edges", VIEW, AT(wire_chunk_t, edges), WIRE_EDGE_BYTES, VIEW_MAX},
    {"flags", VIEW, AT(wire_chunk_t, flags), 1, VIEW_MAX},
    {"present", VIEW, AT(wire_chunk_t, present), 1, VIEW_MAX},
    {"sketches", VIEW, AT(wire_chunk_t, sketches), WIRE_SKETCH_BYTES,
     WIRE_SKETCHES_MAX *WIRE_SKETCH_BYTES},
    {"missed", VIEW, AT(wire_chunk_t, missed), 1, BITSET_MAX},
};

static const field_t ask_fields[] = {
    {"v", COUNT, AT(wire_ask_t, version), WIRE_VERSION, WIRE_VERSION},
    {"fed", FIXED, AT(wire_ask_t, federation), 0, WIRE_SHORT_BYTES},
    {"peer", COUNT, AT(wire_ask_t, sender), 0, GOSSIP_PEERS_MAX - 1},
    {"inc", COUNT, AT(wire_ask_t, incarnation), 1, WIRE_COUNT_MAX - 1},
    OBJECT_FIELDS(wire_ask_t),
    {"chunks", VIEW, AT(wire_ask_t, chunks), 4, 4 * WIRE_ASK_CHUNKS},
};

static const field_t final_fields[] = {
    {"v", COUNT, AT(wire_final_t, version), WIRE_VERSION, WIRE_VERSION},
    {"adopt", FIXED, AT(wire_final_t, adopt), 0, HASH_BYTES},
    {"whole", FIXED, AT(wire_final_t, whole), 0, HASH_BYTES},
    {"merged", VIEW, AT(wire_final_t, merged), 1, BITSET_MAX},
    {"decided", COUNT, AT(wire_final_t, decided), 0, UINT32_MAX - 8},
    {"bound", REAL, AT(wire_final_t, bound), 0, 0},
    {"live", COUNT, AT(wire_final_t, live), 0, GOSSIP_PEERS_MAX},
};

static const layout_t announce_layout = {announce_fields, LENGTH(announce_fields), 16 * 1024};
static const layout_t chunk_layout = {chunk_fields, LENGTH(chunk_fields), WIRE_HEADER_MAX};
static const layout_t ask_layout = {ask_fields, LENGTH(ask_fields), 4096};
static const layout_t final_layout = {final_fields, LENGTH(final_fields), 4096};

/* -- Packing -- */

static void pack_field(msgpack_packer *packer, const field_t *field, const void *message)
{
    const uint8_t *at = (const uint8_t *)message + field->offset;
    msgpack_pack_str_with_body(packer, field->key, strlen(field->key));
    switch (field->type) {
    case COUNT:
        msgpack_pack_uint64(packer, *(const uint64_t *)(const void *)at);
        break;
    case FLAG:
        *(const bool *)at ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
        break;
    case REAL:
        msgpack_pack_double(packer, *(const double *)(const void *)at);
        break;
    case FIXED:
        msgpack_pack_bin_with_body(packer, at, field->hi);
        break;
    case TEXT:
        msgpack_pack_str_with_body(packer, (const char *)at, strlen((const char *)at));
        break;
    case VIEW: {
        const wire_view_t *view = (const void *)at;
        msgpack_pack_bin_with_body(packer, view->size ? view->bytes : (const uint8_t *)"",
                                   view->size);
        break;
    }
    }
}

void wire_seal(uint8_t *frame, size_t size)
{
    if (size < WIRE_LEAD_BYTES)
        return;
    uint64_t length = wire_get(frame + WIRE_TAG_BYTES, 4);
    if (length > size - WIRE_LEAD_BYTES)
        return;
    hash_t tag = hash_bytes(frame + WIRE_LEAD_BYTES, length);
    memcpy(frame, tag.bytes, WIRE_TAG_BYTES);
}

static uint8_t *pack(size_t *size, const layout_t *layout, const void *message, wire_view_t payload)
{
    msgpack_sbuffer header;
    msgpack_sbuffer_init(&header);
    msgpack_packer packer;
    msgpack_packer_init(&packer, &header, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, layout->count);
    for (size_t i = 0; i < layout->count; i++)
        pack_field(&packer, &layout->fields[i], message);
    *size = WIRE_LEAD_BYTES + header.size + payload.size;
    uint8_t *frame = malloc(*size);
    if (frame) {
        wire_put(frame + WIRE_TAG_BYTES, 4, header.size);
        memcpy(frame + WIRE_LEAD_BYTES, header.data, header.size);
        if (payload.size)
            memcpy(frame + WIRE_LEAD_BYTES + header.size, payload.bytes, payload.size);
        wire_seal(frame, *size);
    }
    msgpack_sbuffer_destroy(&header);
    return frame;
}

uint8_t *wire_pack_announce(size_t *size, const wire_announce_t *announce)
{
    return pack(size, &announce_layout, announce, (wire_view_t){0});
}

uint8_t *wire_pack_chunk(size_t *size, const wire_chunk_t *chunk)
{
    return pack(size, &chunk_layout, chunk, chunk->payload);
}

uint8_t *wire_pack_ask(size_t *size, const wire_ask_t *ask)
{
    return pack(size, &ask_layout, ask, (wire_view_t){0});
}

uint8_t *wire_pack_final(size_t *size, const wire_final_t *final)
{
    return pack(size, &final_layout, final, final->payload);
}

/* -- Unpacking -- */

static bool unpack_field(const field_t *field, void *message, const msgpack_object *value)
{
    uint8_t *at = (uint8_t *)message + field->offset;
    switch (field->type) {
    case COUNT:
        if (value->type != MSGPACK_OBJECT_POSITIVE_INTEGER || value->via.u64 < field->lo ||
            value->via.u64 > field->hi)
            return false;
        *(uint64_t *)(void *)at = value->via.u64;
        return true;
    case FLAG:
        if (value->type != MSGPACK_OBJECT_BOOLEAN)
            return false;
        *(bool *)at = value->via.boolean;
        return true;
    case REAL: /* never negative but for "unknown", never NaN; infinity is allowed */
        if (value->type != MSGPACK_OBJECT_FLOAT64 || !(value->via.f64 >= -1.0))
            return false;
        *(double *)(void *)at = value->via.f64;
        return true;
    case FIXED:
        if (value->type != MSGPACK_OBJECT_BIN || value->via.bin.size != field->hi)
            return false;
        memcpy(at, value->via.bin.ptr, field->hi);
        return true;
    case VIEW:
        if (value->type != MSGPACK_OBJECT_BIN || value->via.bin.size > field->hi ||
            value->via.bin.size % field->lo != 0)
            return false;
        *(wire_view_t *)(void *)at =
            (wire_view_t){(const uint8_t *)value->via.bin.ptr, value->via.bin.size};
        return true;
    case TEXT:
        if (value->type != MSGPACK_OBJECT_STR || value->via.str.size == 0 ||
            value->via.str.size >= field->hi)
            return false;
        text_printable((char *)at, field->hi, value->via.str.ptr, value->via.str.size);
        return true;
    }
    return false;
}

static bool unpack_map(const layout_t *layout, void *message, const msgpack_object *map)
{
    if (map->type != MSGPACK_OBJECT_MAP || map->via.map.size != layout->count)
        return false;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[i];
        if (pair->key.type != MSGPACK_OBJECT_STR)
            return false;
        size_t f = 0;
        for (; f < layout->count; f++)
            if (strlen(layout->fields[f].key) == pair->key.via.str.size &&
                !memcmp(layout->fields[f].key, pair->key.via.str.ptr, pair->key.via.str.size))
                break;
        if (f == layout->count || (seen >> f & 1) ||
            !unpack_field(&layout->fields[f], message, &pair->val))
            return false;
        seen |= UINT64_C(1) << f;
    }
    return true; /* as many different known keys as there are fields: all of them */
}

static bool unpack(const layout_t *layout, void *message, wire_view_t *payload,
                   const uint8_t *frame, size_t size)
{
    if (size < WIRE_LEAD_BYTES)
        return false;
    uint64_t length = wire_get(frame + WIRE_TAG_BYTES, 4);
    if (length > size - WIRE_LEAD_BYTES || length > layout->header_max)
        return false;
    const uint8_t *header = frame + WIRE_LEAD_BYTES;
    *payload = (wire_view_t){header + length, size - WIRE_LEAD_BYTES - (size_t)length};
    hash_t tag = hash_bytes(header, (size_t)length);
    if (memcmp(tag.bytes, frame, WIRE_TAG_BYTES) != 0 || !wire_scan(header, (size_t)length))
        return false;
    msgpack_unpacked result;
    msgpack_unpacked_init(&result);
    size_t offset = 0;
    bool ok = msgpack_unpack_next(&result, (const char *)header, (size_t)length, &offset) ==
                  MSGPACK_UNPACK_SUCCESS &&
              offset == length && unpack_map(layout, message, &result.data);
    msgpack_unpacked_destroy(&result);
    return ok;
}

bool wire_unpack_announce(wire_announce_t *announce, const uint8_t *frame, size_t size)
{
    wire_view_t payload;
    return unpack(&announce_layout, announce, &payload, frame, size) && payload.size == 0;
}

bool wire_unpack_chunk(wire_chunk_t *chunk, const uint8_t *frame, size_t size)
{
    return unpack(&chunk_layout, chunk, &chunk->payload, frame, size) &&
           chunk->index < chunk->count && chunk->edges.size / WIRE_EDGE_BYTES == chunk->flags.size;
}

bool wire_unpack_ask(wire_ask_t *ask, const uint8_t *frame, size_t size)
{
    wire_view_t payload;
    return unpack(&ask_layout, ask, &payload, frame, size) && payload.size == 0 &&
           ask->chunks.size > 0;
}

bool wire_unpack_final(wire_final_t *final, const uint8_t *frame, size_t size)
{
    return unpack(&final_layout, final, &final->payload, frame, size);
}
