#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "nn/memory.h"
#include "nn/net.h"

err_t nn_state_init(nn_state_t *state, const nn_net_t *net)
{
    err_t err = ERR_OK;
    *state = (nn_state_t){.net = net};
    state->values = nn_aligned(net->float_count * sizeof(float));
    state->counters = nn_aligned(net->counter_count * sizeof(int64_t));
    if (!state->values || !state->counters)
        FAIL(ERR_MEMORY, "no memory for a model of %zu numbers", net->float_count);
    return ERR_OK;
out:
    nn_state_free(state);
    return err;
}

void nn_state_free(nn_state_t *state)
{
    nn_free(state->values);
    nn_free(state->counters);
    *state = (nn_state_t){0};
}

void nn_state_copy(nn_state_t *to, const nn_state_t *from)
{
    CHECK(to->net->float_count == from->net->float_count);
    CHECK(to->net->counter_count == from->net->counter_count);
    memcpy(to->values, from->values, from->net->float_count * sizeof(float));
    memcpy(to->counters, from->counters, from->net->counter_count * sizeof(int64_t));
}

/* Inputs of one output: the bias of a layer is drawn with its weight's. */
static size_t fan_in(const nn_net_t *net, const nn_entry_t *entry)
{
    const nn_entry_t *weight = &net->entries[net->ops[entry->op].weight];
    return weight->count / weight->shape[0];
}

static void draw_uniform(float *values, const nn_net_t *net, const nn_entry_t *e, rng_t *rng)
{
    float bound = (float)(1.0 / sqrt((double)fan_in(net, e)));
    for (size_t k = 0; k < e->count; k++)
        values[k] = bound * (2.0f * rng_float(rng) - 1.0f);
}

/* fan_out of a convolution is its outputs times its window, whatever its groups. */
static void draw_normal(float *values, const nn_entry_t *e, rng_t *rng)
{
    bool conv = e->rank == 4;
    double deviation = conv ? sqrt(2.0 / (double)(e->shape[0] * e->shape[2] * e->shape[3])) : 0.01;
    for (size_t k = 0; k < e->count; k++)
        values[k] = e->kind == NN_KIND_BIAS ? 0.0f : (float)(deviation * rng_normal(rng));
}

void nn_state_draw(nn_state_t *state, uint64_t seed)
{
    const nn_net_t *net = state->net;
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        if (e->kind == NN_KIND_COUNTER) {
            state->counters[e->offset] = 0;
            continue;
        }
        float *values = state->values + e->offset;
        if (e->kind == NN_KIND_WEIGHT || e->kind == NN_KIND_BIAS) {
            rng_t rng;
            rng_init(&rng, seed, RNG_STREAM_INIT, i, 0);
            if (net->init == NN_INIT_NORMAL)
                draw_normal(values, e, &rng);
            else
                draw_uniform(values, net, e, &rng);
        } else {
            float value = e->kind == NN_KIND_BN_WEIGHT || e->kind == NN_KIND_RUNNING_VAR;
            for (size_t k = 0; k < e->count; k++)
                values[k] = value;
        }
    }
}

void nn_state_digest(char hex[65], const nn_state_t *state)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                   "digests and files are little-endian");
    hash_t hash = hash_bytes(state->values, state->net->float_count * sizeof(float));
    hash_hex(hex, &hash);
}
