/* msgpack looked over before anything is allocated for it. */
#include "gossip/wire.h"

/* Children that an object of this first byte declares, and the bytes that it takes itself. False
 * for what we do not take: ext, never used bytes, or a length beyond the end. */
static bool measure(const uint8_t *at, size_t left, size_t *bytes, uint64_t *children)
{
    uint8_t b = at[0];
    size_t lead = 0; /* length bytes behind b */
    bool list = false;
    uint64_t factor = 1;
    *children = 0;
    *bytes = 1;
    if (b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3)
        return true;
    if (b <= 0x8f) {
        *children = 2u * (b & 0x0fu);
        return true;
    }
    if (b <= 0x9f) {
        *children = b & 0x0fu;
        return true;
    }
    if (b <= 0xbf) {
        *bytes = 1u + (b & 0x1fu);
        return *bytes <= left;
    }
    switch (b) {
    case 0xc4:
    case 0xd9:
        lead = 1;
        break;
    case 0xc5:
    case 0xda:
        lead = 2;
        break;
    case 0xc6:
    case 0xdb:
        lead = 4;
        break;
    case 0xdc:
        lead = 2, list = true;
        break;
    case 0xdd:
        lead = 4, list = true;
        break;
    case 0xde:
        lead = 2, list = true, factor = 2;
        break;
    case 0xdf:
        lead = 4, list = true, factor = 2;
        break;
    case 0xcc:
    case 0xd0:
        *bytes = 2;
        return left >= 2;
    case 0xcd:
    case 0xd1:
        *bytes = 3;
        return left >= 3;
    case 0xca:
    case 0xce:
    case 0xd2:
        *bytes = 5;
        return left >= 5;
    case 0xcb:
    case 0xcf:
    case 0xd3:
        *bytes = 9;
        return left >= 9;
    default:
        return false; /* ext and 0xc1 */
    }
    if (left < 1 + lead)
        return false;
    uint64_t length = wire_get(at + 1, lead);
    *bytes = 1 + lead;
    if (list) {
        *children = length * factor;
        return *children <= left;
    }
    if (length > left - *bytes)
        return false;
    *bytes += (size_t)length;
    return true;
}

bool wire_scan(const uint8_t *bytes, size_t size)
{
    uint64_t open[WIRE_DEPTH_MAX + 1] = {1}; /* objects still to come at each depth */
    size_t depth = 0, at = 0, objects = 0;
    for (;;) {
        while (open[depth] == 0) {
            if (depth == 0)
                return at == size;
            depth--;
        }
        open[depth]--;
        size_t taken = 0;
        uint64_t children = 0;
        if (at >= size || ++objects > WIRE_OBJECTS_MAX ||
            !measure(bytes + at, size - at, &taken, &children))
            return false;
        at += taken;
        if (children > size - at)
            return false;
        if (children) {
            if (depth == WIRE_DEPTH_MAX)
                return false;
            open[++depth] = children;
        }
    }
}
