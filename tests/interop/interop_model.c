/* The C side of interop_torch.py.
 *   interop_model save FILE    draws a model, trains a step so that statistics move, saves it and
 *                              prints the logits of a fixed input
 *   interop_model logits FILE  loads a model and prints the same */
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

static err_t print_logits(const nn_net_t *net, const nn_state_t *state, const float *x)
{
    err_t err = ERR_OK;
    nn_infer_t *infer = NULL;
    float logits[PICTURES * 10];
    TRY(nn_infer_new(&infer, net, PICTURES, 1));
    nn_infer_run(infer, logits, state, x, PICTURES);
    for (size_t i = 0; i < PICTURES * 10; i++)
        printf("%.9g\n", (double)logits[i]);
out:
    nn_infer_destroy(&infer);
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

static err_t load(const char *path, const float *x)
{
    err_t err = ERR_OK;
    nn_model_t model = {0};
    TRY(nn_model_load(&model, path));
    if (model.net->arch.input != 64 || model.net->arch.classes != 10)
        FAIL(ERR_USAGE, "%s: a model of 64 pixels and 10 classes is needed", path);
    TRY(print_logits(model.net, &model.state, x));
out:
    nn_model_free(&model);
    return err;
}

int main(int argc, char **argv)
{
    const size_t count = PICTURES * 64 * 64 * 3;
    float *x = malloc(count * sizeof *x);
    nn_blas_setup(argv);
    for (size_t i = 0; x && i < count; i++)
        x[i] = pixel(i);
    err_t err = err_set(ERR_USAGE, "usage: interop_model save|logits FILE");
    if (x && argc == 3 && !strcmp(argv[1], "save"))
        err = save(argv[2], x);
    else if (x && argc == 3 && !strcmp(argv[1], "logits"))
        err = load(argv[2], x);
    if (err)
        fprintf(stderr, "%s\n", err_message());
    free(x);
    return err ? 1 : 0;
}
