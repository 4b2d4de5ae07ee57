#include "base/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hash_stream_s {
    EVP_MD_CTX *context; /* owned */
};

hash_stream_t *hash_stream_new(void)
{
    hash_stream_t *stream = xcalloc(1, sizeof *stream);
    stream->context = EVP_MD_CTX_new();
    CHECK(stream->context && EVP_DigestInit_ex(stream->context, EVP_sha256(), NULL));
    return stream;
}

void hash_stream_add(hash_stream_t *stream, const void *data, size_t size)
{
    CHECK(EVP_DigestUpdate(stream->context, data, size));
}

hash_t hash_stream_end(hash_stream_t **stream)
{
    hash_t hash;
    CHECK(EVP_DigestFinal_ex((*stream)->context, hash.bytes, NULL));
    EVP_MD_CTX_free((*stream)->context);
    free(*stream);
    *stream = NULL;
    return hash;
}

hash_t hash_bytes(const void *data, size_t size)
{
    hash_t hash;
    CHECK(EVP_Digest(data, size, hash.bytes, NULL, EVP_sha256(), NULL));
    return hash;
}

err_t hash_file(hash_t *hash, const char *path)
{
    err_t err = ERR_OK;
    unsigned char buffer[65536];
    size_t n;
    hash_stream_t *stream = hash_stream_new();
    FILE *file = fopen(path, "rbe");
    if (!file)
        FAIL(ERR_IO, "open %s: %s", path, strerror(errno));
    while ((n = fread(buffer, 1, sizeof buffer, file)) > 0)
        hash_stream_add(stream, buffer, n);
    if (ferror(file))
        FAIL(ERR_IO, "read %s: %s", path, strerror(errno));
out:
    if (file)
        fclose(file);
    *hash = hash_stream_end(&stream);
    return err;
}

void hash_hex(char text[HASH_HEX], const hash_t *hash)
{
    for (int i = 0; i < HASH_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", hash->bytes[i]);
}
