/* nn/head.h: training the last dense layer alone. What lies ahead of it, the features, runs as in
 * inference: BatchNorm with its running statistics, no dropout, nothing kept and no way back. That is
 * PyTorch with requires_grad_(False) and eval() on the features. */
#pragma once
#include "nn/run.h"

typedef struct {
    const nn_net_t *net;
    nn_net_t features; /* the list ahead of the head; borrows the net's arrays */
    nn_run_t *run;     /* of the features */
    float dropout;     /* between features and head */
    size_t inputs, outputs;
    arena_t arena;          /* holds all that follows */
    float *x;               /* (batch,inputs) features, after dropout */
    float *logits;          /* (batch,outputs) */
    float *logits_gradient; /* (batch,outputs) */
    float *gradient;        /* (float_count), zero but for the head's entries */
} nn_head_t;

/* Whether an entry belongs to the head. */
bool nn_head_owns(const nn_net_t *net, const nn_entry_t *entry);

/* ERR_CONFIG: the net does not end in a dense layer over a vector. The caller destroys. */
err_t nn_head_new(nn_head_t **head, const nn_net_t *net, size_t batch, int threads);
void nn_head_destroy(nn_head_t **head);
/* Fills x and logits for pictures (n,H,W,3). `dropout` may be NULL when there is none. */
void nn_head_forward(nn_head_t *head, const nn_state_t *state, const float *pictures, size_t n,
                     rng_t *dropout);
/* Fills the gradient from logits_gradient and what forward has left. */
void nn_head_backward(nn_head_t *head, size_t n);
