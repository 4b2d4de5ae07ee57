/* base/hash.h: SHA-256, by libcrypto. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { HASH_BYTES = 32, HASH_HEX = 65 };

typedef struct {
    uint8_t bytes[HASH_BYTES];
} hash_t;

typedef struct hash_stream_s hash_stream_t;

hash_t hash_bytes(const void *data, size_t size);
/* Of a whole file, read in pieces. ERR_IO. */
err_t hash_file(hash_t *hash, const char *path);

hash_stream_t *hash_stream_new(void);
void hash_stream_add(hash_stream_t *stream, const void *data, size_t size);
/* The digest of all that was added; the stream is gone afterwards. */
hash_t hash_stream_end(hash_stream_t **stream);

/* 64 lower-case hexadecimal digits and a zero byte. */
void hash_hex(char text[HASH_HEX], const hash_t *hash);
