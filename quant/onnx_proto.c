#include "quant/onnx_proto.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { WIRE_VARINT = 0, WIRE_LENGTH = 2 };

void quant_proto_free(quant_proto_t *message)
{
    free(message->data);
    *message = (quant_proto_t){0};
}

/* Room for `size` bytes at the end. */
static unsigned char *extend(quant_proto_t *message, size_t size)
{
    if (message->room - message->size < size) {
        message->room = 2 * message->room + size + 64;
        message->data = xrealloc(message->data, message->room, 1);
    }
    unsigned char *at = message->data + message->size;
    message->size += size;
    return at;
}

/* Seven bits a byte, lowest first; the top bit says that more follow. */
static void put_varint(quant_proto_t *message, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *extend(message, 1) = (unsigned char)(value | 0x80);
    *extend(message, 1) = (unsigned char)value;
}

static void put_tag(quant_proto_t *message, unsigned field, unsigned wire)
{
    put_varint(message, (uint64_t)field << 3 | wire);
}

void quant_proto_int(quant_proto_t *message, unsigned field, int64_t value)
{
    put_tag(message, field, WIRE_VARINT);
    put_varint(message, (uint64_t)value);
}

void quant_proto_bytes(quant_proto_t *message, unsigned field, const void *data, size_t size)
{
    put_tag(message, field, WIRE_LENGTH);
    put_varint(message, size);
    if (size)
        memcpy(extend(message, size), data, size);
}

void quant_proto_text(quant_proto_t *message, unsigned field, const char *text)
{
    quant_proto_bytes(message, field, text, strlen(text));
}

void quant_proto_message(quant_proto_t *message, unsigned field, quant_proto_t *part)
{
    quant_proto_bytes(message, field, part->data, part->size);
    quant_proto_free(part);
}

void quant_proto_append(quant_proto_t *message, quant_proto_t *part)
{
    if (part->size)
        memcpy(extend(message, part->size), part->data, part->size);
    quant_proto_free(part);
}
