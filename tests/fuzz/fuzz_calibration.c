/* Any bytes as records of calibration: refused, or numbers within their bounds. The first byte
 * picks which record, and whether a good head stands before the rest, so that mutations get past
 * it. */
#include <stdlib.h>
#include <string.h>

#include "nn/plan.h"
#include "node/calibration_record.h"
#include "quant/fold.h"
#include "quant/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const nn_net_t *folded_net(void)
{
    static nn_net_t *folded;
    const nn_arch_t arch = {.name = "cnn", .width = 0.25, .input = 28, .classes = 3};
    nn_net_t *net = NULL;
    if (folded)
        return folded;
    if (nn_net_new(&net, &arch) || quant_fold_net(&folded, net))
        abort();
    nn_net_destroy(&net);
    return folded;
}

static void try_ranges(const nn_net_t *net, const uint8_t *bytes, size_t size)
{
    quant_ranges_t ranges;
    if (node_ranges_read(&ranges, net, bytes, size))
        return;
    for (size_t t = 0; t < net->tensor_count; t++)
        if (!(ranges.min[t] <= 0 && ranges.min[t] >= -0x1p100f && ranges.max[t] >= 0 &&
              ranges.max[t] <= 0x1p100f))
            abort();
    quant_ranges_free(&ranges);
}

static void try_counts(const nn_net_t *net, const uint8_t *bytes, size_t size)
{
    quant_counts_t counts;
    if (node_counts_read(&counts, net, bytes, size))
        return;
    for (size_t t = 0; t < net->tensor_count; t++) {
        uint64_t sum = 0, elements = nn_shape_count(net->tensors[t]) * counts.pictures;
        for (size_t i = 0; i < QUANT_BINS; i++)
            sum += counts.bins[t * QUANT_BINS + i];
        if (sum != (quant_tensor_is_operand(net, (int)t) ? elements : 0))
            abort();
    }
    const int64_t most = (int64_t)(counts.pictures << 32);
    for (size_t c = 0; c < counts.channel_count; c++)
        if (counts.sums[c] < -most || counts.sums[c] > most)
            abort();
    quant_counts_free(&counts);
}

/* The head of what was counted on nothing but zeros in two pictures, up to the bins. */
static size_t good_head(uint8_t head[64], const nn_net_t *net, bool counts)
{
    size_t size, channels = 0;
    uint8_t *record;
    if (!counts) {
        head[0] = 1;
        head[1] = (uint8_t)net->tensor_count; /* below 128 */
        return 2;
    }
    for (size_t i = 0; i < net->op_count; i++)
        if (quant_op_has_weights(&net->ops[i]))
            channels += net->tensors[net->ops[i].in[0]].channels;
    quant_counts_t none = {.channel_count = channels, .pictures = 2};
    none.sums = calloc(channels, sizeof *none.sums);
    record = node_counts_write(&size, &none);
    size -= channels; /* a byte each */
    memcpy(head, record, size);
    head[2] = (uint8_t)net->tensor_count;
    free(none.sums);
    free(record);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const nn_net_t *net = folded_net();
    uint8_t head[64];
    if (size < 1)
        return 0;
    bool counts = data[0] & 1;
    size_t head_size = data[0] & 2 ? good_head(head, net, counts) : 0;
    uint8_t *record = malloc(head_size + size);
    memcpy(record, head, head_size);
    memcpy(record + head_size, data + 1, size - 1);
    (counts ? try_counts : try_ranges)(net, record, head_size + size - 1);
    free(record);
    return 0;
}
