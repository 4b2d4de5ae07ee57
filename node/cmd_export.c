/* hearsay export MODEL --onnx FILE: a model for other systems. */
#include <jansson.h>
#include <stdio.h>

#include "base/file.h"
#include "base/text.h"
#include "nn/json_text.h"
#include "node/commands.h"
#include "node/json_print.h"
#include "quant/onnx.h"

static void print_text(const nn_model_meta_t *meta, const char *path, size_t bytes)
{
    char size[24];
    text_bytes(size, (double)bytes);
    printf("%s: %s of width %g%s%s in %s, %zux%zu pixels, %zu classes, %s\n", path, meta->arch.name,
           meta->arch.width, *meta->arch.strides ? ", strides " : "", meta->arch.strides,
           meta->precision, meta->arch.input, meta->arch.input, meta->arch.classes, size);
    printf("input: \"input\" (N,3,%zu,%zu) float32, (pixel/255 - mean) / std; mean %g %g %g, std "
           "%g %g %g\n",
           meta->arch.input, meta->arch.input, (double)meta->normalisation.mean[0],
           (double)meta->normalisation.mean[1], (double)meta->normalisation.mean[2],
           (double)meta->normalisation.std[0], (double)meta->normalisation.std[1],
           (double)meta->normalisation.std[2]);
    printf("output: \"logits\" (N,%zu) float32\n", meta->arch.classes);
}

static void print_json(const nn_model_meta_t *meta, const node_args_t *args, size_t bytes)
{
    json_t *root =
        json_pack("{s:o, s:o, s:s, s:s, s:f, s:s, s:I, s:I, s:I, s:i, s:i}", "model",
                  nn_json_text(args->positional[0]), "file", nn_json_text(args->onnx), "precision",
                  meta->precision, "architecture", meta->arch.name, "width", meta->arch.width,
                  "strides", meta->arch.strides, "input", (json_int_t)meta->arch.input, "classes",
                  (json_int_t)meta->arch.classes, "bytes", (json_int_t)bytes, "opset",
                  QUANT_ONNX_OPSET, "ir_version", QUANT_ONNX_IR);
    node_json_print(root, JSON_REAL_PRECISION(9));
}

int cmd_export(const node_args_t *args)
{
    err_t err = ERR_OK;
    nn_model_meta_t meta = {0};
    size_t bytes = 0;
    const char *model = args->positional[0];
    if (!args->onnx || !*args->onnx)
        FAIL(ERR_USAGE, "where to? hearsay export %s --onnx FILE", model);
    if (file_same(model, args->onnx))
        FAIL(ERR_USAGE, "%s and %s are one file: give the ONNX file a name of its own", model,
             args->onnx);
    TRY(quant_onnx_export(&meta, args->onnx, model));
    TRY(file_size(&bytes, args->onnx));
    if (args->json)
        print_json(&meta, args, bytes);
    else
        print_text(&meta, args->onnx, bytes);
out:
    nn_model_meta_free(&meta);
    return node_exit(err);
}
