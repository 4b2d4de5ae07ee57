/* Training options against PyTorch: Nesterov momentum, label smoothing, learning-rate schedules. */
#include "nn/layers.h"
#include "nn/schedule.h"
#include "tests/nn/support.h"

enum { EPOCHS = 10, STEPS = 7 };

static safetensors_t *file;

static void nesterov_follows_pytorch_for_twelve_steps(void **state)
{
    (void)state;
    const struct {
        const char *name;
        nn_sgd_t sgd;
    } cases[] = {{"nesterov", {0.1f, 0.9f, 0.0f, true}},
                 {"nesterov_decay", {0.1f, 0.9f, 0.05f, true}}};
    for (int level = CPU_C; level <= CPU_AVX512; level++) {
        const nn_kernels_t *k = nn_kernels_at((cpu_level_t)level);
        for (size_t i = 0; k && i < sizeof cases / sizeof cases[0]; i++) {
            const float *expected = golden(file, cases[i].name, 12 * 50);
            float *w = formula_new(1, 50, 1), *buffer = zeros_new(50);
            for (size_t step = 0; step < 12; step++) {
                float *g = formula_new(10 + step, 50, 1);
                k->sgd(w, buffer, g, &cases[i].sgd, 50);
                check_near(cases[i].name, w, expected + step * 50, 50, 1e-6);
                free(g);
            }
            free(w);
            free(buffer);
        }
    }
}

static void smoothed_labels_give_pytorchs_loss_and_gradient(void **state)
{
    (void)state;
    const struct {
        const char *name;
        double smoothing;
    } cases[] = {{"smoothing_01", 0.1}, {"smoothing_05", 0.5}};
    static const int32_t labels[] = {3, 0, 9, 5, 5, 1};
    float *z = formula_new(1, 60, 8), dz[60];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[32];
        size_t correct;
        float loss =
            (float)(nn_cross_entropy(dz, &correct, z, labels, 6, 10, cases[i].smoothing) / 6);
        snprintf(name, sizeof name, "%s.loss", cases[i].name);
        check_near(name, &loss, golden(file, name, 1), 1, 1e-6);
        snprintf(name, sizeof name, "%s.dz", cases[i].name);
        check_near(name, dz, golden(file, name, 60), 60, 1e-6);
    }
    free(z);
}

static void schedules_are_pytorchs_step_by_step(void **state)
{
    (void)state;
    const struct {
        const char *name;
        nn_schedule_t schedule;
    } cases[] = {
        {"lr.milestones",
         {NN_SCHEDULE_STEP, .lr = 0.1, .milestones = {3, 8}, .milestone_count = 2, .gamma = 0.2}},
        {"lr.every", {NN_SCHEDULE_STEP, .lr = 0.1, .every_epochs = 4, .gamma = 0.5}},
        {"lr.cosine", {NN_SCHEDULE_COSINE, .lr = 0.1, .lr_min = 0.001}},
        {"lr.cosine_warm", {NN_SCHEDULE_COSINE, .lr = 0.1, .warmup_epochs = 2}},
        {"lr.milestones_warm",
         {NN_SCHEDULE_STEP,
          .lr = 0.1,
          .warmup_epochs = 5,
          .milestones = {3, 8},
          .milestone_count = 2,
          .gamma = 0.2}},
        {"lr.constant_warm", {NN_SCHEDULE_CONSTANT, .lr = 0.1, .warmup_epochs = 3}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const float *expected = golden(file, cases[i].name, EPOCHS * STEPS);
        for (size_t k = 0; k < EPOCHS * STEPS; k++) {
            double lr = nn_schedule_lr(&cases[i].schedule, k / STEPS, EPOCHS, k % STEPS, STEPS);
            double off = fabs(lr - (double)expected[k]);
            if (!(off <= 1e-6 * 0.1))
                print_error("%s step %zu: %.9g, PyTorch %.9g\n", cases[i].name, k, lr,
                            (double)expected[k]);
            assert_true(off <= 1e-6 * 0.1);
        }
    }
}

/* A run that ends within an epoch: the cosine ends there. */
static void cosine_ends_with_the_run(void **state)
{
    (void)state;
    const nn_schedule_t s = {.kind = NN_SCHEDULE_COSINE, .lr = 0.1};
    assert_true(fabs(nn_schedule_lr(&s, 1, 1.25, 2, 8)) <= 1e-9);       /* at the end */
    assert_true(fabs(nn_schedule_lr(&s, 0, 1.25, 5, 8) - 0.05) <= 1e-9); /* half way */
}

/* Warm-up of part of an epoch or of the whole run, epochs behind the last: nothing leaves the range
 * from 0 to the full rate. */
static void rates_stay_in_range(void **state)
{
    (void)state;
    for (int kind = NN_SCHEDULE_CONSTANT; kind <= NN_SCHEDULE_COSINE; kind++) {
        const double warmups[] = {0, 0.01, 0.5, 1, 10, 50};
        for (size_t w = 0; w < sizeof warmups / sizeof warmups[0]; w++) {
            nn_schedule_t s = {.kind = (nn_schedule_kind_t)kind,
                               .lr = 0.1,
                               .warmup_epochs = warmups[w],
                               .every_epochs = 1,
                               .gamma = 0.1};
            for (uint64_t epoch = 0; epoch < 20; epoch++) {
                for (size_t step = 0; step < 3; step++) {
                    double lr = nn_schedule_lr(&s, epoch, 10, step, 3);
                    assert_true(lr >= 0 && lr <= 0.1);
                }
            }
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(nesterov_follows_pytorch_for_twelve_steps),
    cmocka_unit_test(smoothed_labels_give_pytorchs_loss_and_gradient),
    cmocka_unit_test(schedules_are_pytorchs_step_by_step),
    cmocka_unit_test(cosine_ends_with_the_run),
    cmocka_unit_test(rates_stay_in_range),
};

int main(int argc, char **argv)
{
    if (safetensors_open(&file, GOLDEN_DIR "/nn_training.safetensors")) {
        fprintf(stderr, "%s\n", err_message());
        return 1;
    }
    int failed = TEST_MAIN(argc, argv, tests);
    safetensors_close(&file);
    return failed;
}
