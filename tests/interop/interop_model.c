/* The C side of interop_torch.py.
 *   interop_model save FILE    draws a model, trains a step so that statistics move, saves it and
 *                              prints the logits of a fixed input
 *   interop_model logits FILE  loads a model of any size and prints the same for pictures of its own */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/infer.h"
#include "nn/model_file.h"
#include "nn/train.h"

enum { PICTURES = 4 };

/* interop_torch.py has the same formula. */
static float pixel(size_t i)
{
    return (float)((i * 7919 + 13) % 2048) / 1024.0f - 1.0f;
}

/* PICTURES of `side` pixels; malloc'd, the caller frees; NULL when there is no memory. */
static float *pictures(size_t side)
{
    const size_t count = PICTURES * side * side * 3;
    float *x = malloc(count * sizeof *x);
    for (size_t i = 0; x && i < count; i++)
        x[i] = pixel(i);
    return x;
}

static err_t print_logits(const nn_net_t *net, const nn_state_t *state, const float *x)
{
    err_t err = ERR_OK;
    nn_infer_t *infer = NULL;
    const size_t count = PICTURES * net->arch.classes;
    float *logits = calloc(count, sizeof *logits);
    if (!logits)
        FAIL(ERR_MEMORY, "no memory for %zu logits", count);
    TRY(nn_infer_new(&infer, net, PICTURES, 1));
    nn_infer_run(infer, logits, state, x, PICTURES);
    for (size_t i = 0; i < count; i++)
        printf("%.9g\n", (double)logits[i]);
out:
    nn_infer_destroy(&infer);
    free(logits);
    return err;
}

static err_t save(const char *path, const float *x)
{
    err_t err = ERR_OK;
    nn_model_t model = {0};
    nn_trainer_t *trainer = NULL;
    nn_optimizer_t adam = nn_optimizer_default(NN_ADAM, 1e-3f);
    const int32_t labels[PICTURES] = {1, 3, 5, 9};
    nn_model_meta_t meta = {.arch = {"cnn", 1.0, "", 64, 10, 0},
                            .normalisation = data_normalisation_default(),
                            .federation = "interop",
                            .precision = "fp32"};
    double loss;
    size_t correct;
    TRY(nn_net_new(&model.net, &meta.arch));
    TRY(nn_state_init(&model.state, model.net));
    nn_state_draw(&model.state, 1);
    TRY(nn_trainer_new(&trainer, model.net, PICTURES, 1, &adam));
    for (int i = 0; i < 3; i++)
        nn_trainer_step(trainer, &model.state, &loss, &correct, x, labels, PICTURES, NULL);
    TRY(nn_model_save(path, &model.state, &meta));
    TRY(print_logits(model.net, &model.state, x));
out:
    nn_trainer_destroy(&trainer);
    nn_model_free(&model);
    return err;
}

static err_t load(const char *path)
{
    err_t err = ERR_OK;
    nn_model_t model = {0};
    float *x = NULL;
    TRY(nn_model_load(&model, path));
    x = pictures(model.net->arch.input);
    if (!x)
        FAIL(ERR_MEMORY, "no memory for the pictures of %s", path);
    TRY(print_logits(model.net, &model.state, x));
out:
    free(x);
    nn_model_free(&model);
    return err;
}

int main(int argc, char **argv)
{
    float *x = pictures(64);
    nn_blas_setup(argv);
    err_t err = err_set(ERR_USAGE, "usage: interop_model save|logits FILE");
    if (x && argc == 3 && !strcmp(argv[1], "save"))
        err = save(argv[2], x);
    else if (x && argc == 3 && !strcmp(argv[1], "logits"))
        err = load(argv[2]);
    if (err)
        fprintf(stderr, "%s\n", err_message());
    free(x);
    return err ? 1 : 0;
}
