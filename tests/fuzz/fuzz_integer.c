/* A good INT8 file with some of its bytes changed: it is refused, or what it holds is run and gives
 * numbers. The input is a list of changes, each three bytes of where and one of what. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "quant/engine.h"
#include "quant/fold.h"
#include "quant/integer_file.h"
#include "quant/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIDE = 28, CLASSES = 2 };

/* The smallest cnn there is, every scale 1/64 and every weight and bias small. */
static void make(quant_integer_t *model)
{
    const nn_model_meta_t meta = {
        .arch = {"cnn", 0.01, "", SIDE, CLASSES, 0},
        .normalisation = data_normalisation_default(),
        .federation = "fuzz",
    };
    nn_net_t *net = NULL, *folded = NULL;
    if (nn_net_new(&net, &meta.arch) || quant_fold_net(&folded, net))
        abort();
    nn_net_destroy(&net);
    quant_integer_new(model, folded, &meta);
    for (size_t t = 0; t + 1 < folded->tensor_count; t++)
        model->tensors[t] = (quant_affine_t){1.0f / 64, t == 0 ? 128 : 0};
    for (size_t i = 0; i < folded->op_count; i++) {
        if (!quant_op_has_weights(&folded->ops[i]))
            continue;
        const nn_entry_t *e = &folded->entries[folded->ops[i].weight];
        for (size_t k = 0; k < e->count; k++)
            model->layers[i].weight[k] = (int8_t)(k * 37 % 255 - 127);
        for (size_t o = 0; o < e->shape[0]; o++) {
            model->layers[i].scale[o] = 1.0f / 64;
            model->layers[i].bias[o] = (int32_t)o;
        }
    }
}

static unsigned char *good_file(size_t *size)
{
    char path[] = "/tmp/hearsay-fuzz-XXXXXX";
    quant_integer_t model;
    unsigned char *bytes = NULL;
    int file = mkstemp(path);
    make(&model);
    if (file < 0 || quant_integer_save(path, &model) || file_read(&bytes, size, path, 1 << 20)) {
        fprintf(stderr, "%s\n", err_message());
        abort();
    }
    close(file);
    unlink(path);
    quant_integer_free(&model);
    return bytes;
}

static void run(const quant_integer_t *model)
{
    static float x[SIDE * SIDE * 3];
    float logits[CLASSES], plain[CLASSES];
    quant_engine_t *engine = NULL;
    if (model->net->arch.input != SIDE || model->net->arch.classes != CLASSES)
        return;
    for (size_t i = 0; i < SIDE * SIDE * 3; i++)
        x[i] = (float)(i * 7919 % 2001) / 1000 - 1;
    if (quant_engine_new(&engine, model, 1, 1))
        abort(); /* a list that hearsay's own builder made */
    quant_engine_run(engine, logits, x, 1);
    quant_integer_reference(plain, NULL, model, x);
    for (size_t c = 0; c < CLASSES; c++)
        if (!isfinite(logits[c]) || memcmp(&logits[c], &plain[c], sizeof(float)) != 0)
            abort();
    quant_engine_destroy(&engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char *good, *bytes;
    static size_t length;
    safetensors_t *file = NULL;
    quant_integer_t model;
    if (!good) {
        good = good_file(&length);
        bytes = xcalloc(length, 1);
    }
    memcpy(bytes, good, length);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        size_t at = (size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2];
        bytes[at % length] = data[i + 3];
    }
    err_clear();
    if (safetensors_parse(&file, bytes, length, "fuzz"))
        return 0;
    if (quant_integer_read(&model, file) == ERR_OK) {
        run(&model);
        quant_integer_free(&model);
    } else if (!strstr(err_message(), "fuzz: ")) {
        abort();
    }
    safetensors_close(&file);
    return 0;
}
