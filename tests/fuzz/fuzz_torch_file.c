/* libFuzzer target: the first byte picks what the rest is: 0: a file as `hearsay import` reads it
 * (ZIP or safetensors); else its data.pkl alone, which mutations of a ZIP never reach past its
 * CRCs. What is handed out must lie within its storage.
 *   craft.py seeds CORPUS; build/fuzz/tests/fuzz/fuzz_torch_file -max_total_time=60 CORPUS */
#include <stdlib.h>
#include <string.h>

#include "nn/import.h"
#include "nn/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The last element that a view reaches. */
static void check_view(const pickle_tensor_t *t)
{
    unsigned __int128 last = t->offset;
    for (size_t d = 0; d < t->rank; d++)
        if (t->shape[d])
            last += (unsigned __int128)(t->shape[d] - 1) * t->stride[d];
    if (t->count && last >= t->elements)
        abort();
}

static void run_pickle(const uint8_t *data, size_t size)
{
    pickle_t *pickle = NULL;
    const pickle_value_t *key, *value;
    if (pickle_parse(&pickle, data, size, "fuzz"))
        return;
    const pickle_value_t *root = pickle_root(pickle);
    if (root->kind == PICKLE_DICT)
        for (uint32_t at = 0; pickle_next(&key, &value, &at, pickle, root);) {
            (void)pickle_is_text(key, "state_dict");
            if (value->kind == PICKLE_TENSOR)
                check_view(pickle_tensor(pickle, value));
        }
    pickle_free(&pickle);
}

enum { FLOATS_MAX = 1 << 20 };

/* The whole way of `hearsay import`, for nets that a fuzzer has the time to fill. */
static void import_state(const nn_arch_t *arch, nn_tensor_file_t *file)
{
    nn_net_t *net = NULL;
    nn_state_t state = {0};
    nn_import_report_t report;
    if (nn_net_new(&net, arch))
        return;
    if (net->float_count <= FLOATS_MAX && !nn_state_init(&state, net))
        (void)nn_import_state(&state, &report, file, NULL, 1);
    nn_state_free(&state);
    nn_net_destroy(&net);
}

static void run_file(const uint8_t *data, size_t size)
{
    nn_tensor_file_t *file = NULL;
    nn_arch_t arch = {0};
    if (nn_tensor_file_parse(&file, data, size, "fuzz"))
        return;
    for (size_t i = 0; i < nn_tensor_file_count(file); i++) {
        const nn_tensor_info_t *info = nn_tensor_file_at(file, i);
        int64_t integer;
        if (info->count <= 65536) {
            float *values = malloc(info->count ? info->count * sizeof *values : 1);
            (void)nn_tensor_file_floats(values, file, info);
            free(values);
        }
        (void)nn_tensor_file_integer(&integer, file, info);
    }
    if (!nn_import_arch(&arch, file))
        import_state(&arch, file);
    nn_tensor_file_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    err_clear();
    if (size == 0)
        return 0;
    /* A copy of its own: reads behind the end are seen, and tensors are aligned as in a file. */
    uint8_t *copy = malloc(size > 1 ? size - 1 : 1);
    memcpy(copy, data + 1, size - 1);
    if (data[0])
        run_pickle(copy, size - 1);
    else
        run_file(copy, size - 1);
    free(copy);
    return 0;
}
