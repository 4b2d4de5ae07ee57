/* quant/onnx_proto.h: protocol buffers' wire format, as much as writing an ONNX file takes: a
 * message is bytes that fields are appended to, a field that is a message is made apart and put in
 * whole. protobuf.dev/programming-guides/encoding. Numbers of fields are the caller's. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* A message being made: {0} is an empty one. Aborts when there is no memory. */
typedef struct {
    unsigned char *data; /* (size), owned */
    size_t size, room;
} quant_proto_t;

void quant_proto_free(quant_proto_t *message);

/* Integers of every width, enumerations and booleans: a varint, negative ones as 64 bits. */
void quant_proto_int(quant_proto_t *message, unsigned field, int64_t value);
/* bytes, strings and messages: length and content. */
void quant_proto_bytes(quant_proto_t *message, unsigned field, const void *data, size_t size);
void quant_proto_text(quant_proto_t *message, unsigned field, const char *text);
/* The message `part` as a field; `part` is empty and free afterwards. */
void quant_proto_message(quant_proto_t *message, unsigned field, quant_proto_t *part);
/* The fields of `part` at the end of `message`; `part` is empty and free afterwards. */
void quant_proto_append(quant_proto_t *message, quant_proto_t *part);
