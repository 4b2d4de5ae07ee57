/* Numbers and small records in lists that travel as one bin, big endian. */
#include <string.h>

#include "gossip/wire.h"

uint64_t wire_get(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

void wire_put(uint8_t *bytes, size_t count, uint64_t value)
{
    for (size_t i = count; i-- > 0; value >>= 8)
        bytes[i] = (uint8_t)value;
}

double wire_get_double(const uint8_t *bytes)
{
    uint64_t bits = wire_get(bytes, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void wire_put_double(uint8_t *bytes, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    wire_put(bytes, 8, bits);
}

float wire_get_float(const uint8_t *bytes)
{
    uint32_t bits = (uint32_t)wire_get(bytes, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void wire_put_float(uint8_t *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    wire_put(bytes, 4, bits);
}

void wire_get_status(wire_status_t *status, const uint8_t *bytes)
{
    status->peer = (uint32_t)wire_get(bytes, 4);
    status->incarnation = wire_get(bytes + 4, 8);
    status->life = (uint32_t)wire_get(bytes + 12, 4);
    status->beat = (uint32_t)wire_get(bytes + 16, 4);
    status->flags = bytes[20];
}

void wire_put_status(uint8_t *bytes, const wire_status_t *status)
{
    wire_put(bytes, 4, status->peer);
    wire_put(bytes + 4, 8, status->incarnation);
    wire_put(bytes + 12, 4, status->life);
    wire_put(bytes + 16, 4, status->beat);
    bytes[20] = status->flags;
}

void wire_get_offer(wire_offer_t *offer, const uint8_t *bytes)
{
    offer->object = (wire_object_t){.type = WIRE_RECORD,
                                    .kind = bytes[0],
                                    .origin = wire_get(bytes + 1, 4),
                                    .incarnation = wire_get(bytes + 5, 8),
                                    .number = wire_get(bytes + 13, 4)};
    offer->size = wire_get(bytes + 17, 8);
    memcpy(offer->digest.bytes, bytes + 25, HASH_BYTES);
}

void wire_put_offer(uint8_t *bytes, const wire_offer_t *offer)
{
    bytes[0] = (uint8_t)offer->object.kind;
    wire_put(bytes + 1, 4, offer->object.origin);
    wire_put(bytes + 5, 8, offer->object.incarnation);
    wire_put(bytes + 13, 4, offer->object.number);
    wire_put(bytes + 17, 8, offer->size);
    memcpy(bytes + 25, offer->digest.bytes, HASH_BYTES);
}
