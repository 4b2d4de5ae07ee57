/* quant/integer_file.h: INT8 files: docs/formats.md, "INT8". */
#pragma once
#include "nn/safetensors.h"
#include "quant/integer.h"

/* Metadata that says how the integers are meant. */
#define QUANT_LAYOUT_KEY   "quantization"
#define QUANT_LAYOUT_VALUE "hearsay-int8-1"
/* Tensors beside the weights': scales F32 and zero points U8 of the folded net's tensors. */
#define QUANT_SCALES_NAME "activations.scale"
#define QUANT_ZEROS_NAME  "activations.zero_point"

/* quant_integer_load of a file that is open. */
err_t quant_integer_read(quant_integer_t *model, const safetensors_t *file);
