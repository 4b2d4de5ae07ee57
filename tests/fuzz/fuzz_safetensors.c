/* Any bytes: safetensors_parse and the model header check refuse them or hand out tensors that lie
 * within them. */
#include <stdlib.h>
#include <string.h>

#include "nn/model_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    safetensors_t *file = NULL;
    nn_model_meta_t meta;
    err_clear();
    if (safetensors_parse(&file, data, size, "fuzz"))
        return 0;
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const safetensors_tensor_t *t = safetensors_at(file, i);
        if (t->count * safetensors_dtype_size(t->dtype) != t->size_bytes || t->size_bytes > size)
            abort();
        for (size_t k = 0; k < t->size_bytes; k++)
            sum = (uint8_t)(sum + ((const uint8_t *)t->data)[k]);
        if (strlen(t->name) >= SAFETENSORS_NAME_MAX)
            abort();
    }
    if (nn_model_meta_get(&meta, file) == ERR_OK) {
        nn_net_t *net = NULL;
        if (nn_net_new(&net, &meta.arch) == ERR_OK)
            nn_net_destroy(&net);
        nn_model_meta_free(&meta);
    }
    safetensors_close(&file);
    return 0;
}
