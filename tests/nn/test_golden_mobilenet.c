/* The whole mobilenet_v2 against PyTorch in float64. What stands in the golden file, and why a
 * gradient is kept as a count sketch, is told in tests/golden/mobilenet_golden.py; HEARSAY_GOLDEN
 * names another file of that kind. Run at every CPU level: HEARSAY_CPU forces one, and where the CPU
 * lacks it nothing is tested, with status 77. */
#include "base/cpu.h"
#include "nn/infer.h"
#include "nn/train.h"
#include "tests/nn/support.h"

enum { BUCKETS = 32, STEPS = 12, CLASSES_MAX = 16, BATCH_MAX = 16 };
/* Allowed: ||difference|| / ||expected|| of every tensor, and of errors beside PyTorch float32's. */
static const double limit = 1e-4, times_pytorch = 3.0;

static const char *golden_path(void)
{
    const char *path = getenv("HEARSAY_GOLDEN");
    return path ? path : GOLDEN_DIR "/nn_mobilenet.safetensors";
}

typedef enum { SMOOTH, KINKS, STEADY, ORDINARY } weights_t;

typedef struct {
    safetensors_t *file;
    char name[16]; /* of the case */
    nn_net_t *net;
    size_t batch, rows; /* rows: entries but for counters */
    int threads;
} case_t;

static const float *case_golden(const case_t *c, const char *what, size_t count)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", c->name, what);
    return golden(c->file, name, count);
}

static bool case_has(const case_t *c, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", c->name, what);
    return safetensors_find(c->file, name) != NULL;
}

/* Case number `index` of the file; false when there is none. */
static bool case_open(case_t *c, size_t index, int threads)
{
    *c = (case_t){.threads = threads};
    assert_ok(safetensors_open(&c->file, golden_path()));
    snprintf(c->name, sizeof c->name, "%zu", index);
    if (!case_has(c, "arch")) {
        assert_true(index > 0);
        safetensors_close(&c->file);
        return false;
    }
    const float *a = case_golden(c, "arch", 5);
    nn_arch_t arch = {.name = "mobilenet_v2", .input = (size_t)a[2], .classes = (size_t)a[4]};
    arch.width = rint((double)a[0] * 1000) / 1000; /* the file has float32 */
    snprintf(arch.strides, sizeof arch.strides, "%s", a[1] > 0 ? "small" : "imagenet");
    c->batch = (size_t)a[3];
    assert_true(arch.classes <= CLASSES_MAX && c->batch <= BATCH_MAX);
    assert_ok(nn_net_new(&c->net, &arch));
    c->rows = c->net->entry_count - c->net->counter_count;
    return true;
}

static void case_close(case_t *c)
{
    nn_net_destroy(&c->net);
    safetensors_close(&c->file);
}

/* What channels 8 to 16 of 20 put out: exactly on ReLU6's kinks, beside them and beyond. */
static bool is_kink(float *value, size_t channel)
{
    const float kinks[] = {-1, 0, nextafterf(0, 1), 1e-3f, nextafterf(6, 0),
                           6,  nextafterf(6, 7), 7, -0.0f};
    size_t at = channel % 20;
    if (at < 8 || at >= 8 + sizeof kinks / sizeof kinks[0])
        return false;
    *value = kinks[at - 8];
    return true;
}

static bool is_clamped(const nn_net_t *net, const nn_entry_t *e)
{
    const nn_op_t *op = &net->ops[e->op];
    return op->kind == NN_OP_BATCH_NORM && op[1].kind == NN_OP_RELU6;
}

/* set_weights of the script. */
static void set_weights(nn_state_t *state, weights_t kind)
{
    const nn_net_t *net = state->net;
    nn_state_draw(state, 1); /* statistics and counters */
    for (size_t i = 0; i < net->entry_count; i++) {
        const nn_entry_t *e = &net->entries[i];
        float *v = state->values + e->offset;
        double bound = 1 / sqrt((double)(e->count / (e->rank ? e->shape[0] : 1)));
        if (kind == ORDINARY && e->rank == 4)
            bound = sqrt(6 / (double)(e->shape[0] * e->shape[2] * e->shape[3]));
        else if (kind == ORDINARY)
            bound = sqrt(3) * 0.01;
        for (size_t k = 0; k < e->count; k++) {
            if (e->kind == NN_KIND_WEIGHT)
                v[k] = (float)bound * formula_at(i, k);
            else if (e->kind == NN_KIND_BIAS)
                v[k] = 0;
            if (kind != ORDINARY && e->rank == 4 && e->shape[1] == 1) /* depthwise */
                v[k] = v[k] * 0.5f + (k % 9 == 4 ? 0.5f : 0.0f);
        }
        bool gamma = e->kind == NN_KIND_BN_WEIGHT;
        if (kind == ORDINARY || (!gamma && e->kind != NN_KIND_BN_BIAS) || !is_clamped(net, e))
            continue;
        for (size_t k = 0; k < e->count; k++) {
            float value = 3;
            bool constant = kind == KINKS && is_kink(&value, k);
            v[k] = !gamma ? value : constant ? 0.0f : 0.4f;
            if (kind == STEADY && !strncmp(e->name, "features.18.", 12))
                v[k] = gamma ? 0.08f : 0.5f;
        }
    }
}

static void take_sketch(double out[BUCKETS], const float *values, size_t count, size_t row)
{
    memset(out, 0, BUCKETS * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        uint64_t z = ((uint64_t)row << 32) + i + 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        out[(z >> 8) % BUCKETS] += z & 1 ? -(double)values[i] : (double)values[i];
    }
}

/* Norm of what `values` is off by, as its sketch tells. */
static double error_of(const float *values, const nn_entry_t *e, size_t row, const float *expected)
{
    double found[BUCKETS], sum = 0;
    take_sketch(found, values, e->count, row);
    for (size_t i = 0; i < BUCKETS; i++) {
        double d = found[i] - (double)expected[i];
        sum += d * d;
    }
    return sqrt(sum);
}

/* Gradients, and running statistics in their places, of one step. */
typedef struct {
    nn_state_t state;
    nn_trainer_t *trainer;
    double loss;
    float *values[2]; /* (float_count) gradients; state */
} step_t;

static void step_run(step_t *s, const case_t *c, weights_t kind)
{
    const nn_arch_t *arch = &c->net->arch;
    float *x = formula_new(1000, c->batch * arch->input * arch->input * 3, 1);
    int32_t labels[BATCH_MAX];
    size_t correct;
    nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.0f);
    assert_ok(nn_state_init(&s->state, c->net));
    set_weights(&s->state, kind);
    assert_ok(nn_trainer_new(&s->trainer, c->net, c->batch, c->threads, &sgd));
    for (size_t i = 0; i < c->batch; i++)
        labels[i] = (int32_t)(i * 7 % arch->classes);
    nn_trainer_step(s->trainer, &s->state, &s->loss, &correct, x, labels, c->batch, NULL);
    free(x);
}

static void step_free(step_t *s)
{
    nn_trainer_destroy(&s->trainer);
    nn_state_free(&s->state);
}

static const float *values_of(const step_t *s, const nn_entry_t *e)
{
    bool statistics = e->kind == NN_KIND_RUNNING_MEAN || e->kind == NN_KIND_RUNNING_VAR;
    return (statistics ? s->state.values : nn_trainer_gradients(s->trainer)) + e->offset;
}

/* What a tensor may be off by: `limit` of its norm; a millionth of the largest norm where it is all
 * but zero (a shift ahead of the next BatchNorm). Where float32 itself cannot do that (pictures of
 * 1x1 at the end: a depthwise filter's gradient is zero there but for BatchNorm's epsilon), three
 * times what PyTorch's float32 is off by. */
static double allowed(double norm, double largest, double pytorch)
{
    if (norm < 1e-6 * largest)
        return fmax(1e-6 * largest, times_pytorch * pytorch);
    return fmax(limit * norm, times_pytorch * pytorch);
}

/* Every gradient and running statistic. */
static void check_step(const case_t *c, const step_t *s, const char *kind)
{
    char name[32];
    snprintf(name, sizeof name, "%s.sketch", kind);
    const float *sketches = case_golden(c, name, c->rows * BUCKETS);
    snprintf(name, sizeof name, "%s.norm", kind);
    const float *norms = case_golden(c, name, c->rows);
    snprintf(name, sizeof name, "%s.error", kind);
    const float *errors = case_golden(c, name, c->rows);
    double largest = 0, worst = 0;
    size_t row = 0, beyond = 0, wrong = 0;
    for (size_t i = 0; i < c->net->entry_count; i++) {
        const nn_entry_t *e = &c->net->entries[i];
        if (e->kind <= NN_KIND_BN_BIAS)
            largest = fmax(largest, (double)norms[row]);
        row += e->kind != NN_KIND_COUNTER;
    }
    row = 0;
    for (size_t i = 0; i < c->net->entry_count; i++) {
        const nn_entry_t *e = &c->net->entries[i];
        if (e->kind == NN_KIND_COUNTER)
            continue;
        double norm = (double)norms[row];
        double error = error_of(values_of(s, e), e, row, sketches + row * BUCKETS);
        if (norm >= 1e-6 * largest) {
            worst = fmax(worst, error / norm);
            beyond += error > limit * norm;
        }
        if (!(error <= allowed(norm, largest, (double)errors[row]))) {
            print_error("case %s, %d threads, %s, %s: off by %g, norm %g, largest %g\n", c->name,
                        c->threads, kind, e->name, error, norm, largest);
            wrong++;
        }
        row++;
    }
    print_message("case %s (%s %zu, width %g, batch %zu), %d threads, %s: tensors off by at most "
                  "%.2g, %zu of %zu beyond %g\n",
                  c->name, c->net->arch.strides, c->net->arch.input, c->net->arch.width, c->batch,
                  c->threads, kind, worst, beyond, c->rows, limit);
    assert_int_equal(wrong, 0);
}

/* Calls `check` on every case of the file with 1 and with 2 threads. */
static void each_case(void (*check)(const case_t *c))
{
    case_t c;
    for (int threads = 1; threads <= 2; threads++) {
        for (size_t index = 0; case_open(&c, index, threads); index++) {
            check(&c);
            case_close(&c);
        }
    }
}

static double distance(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum);
}

static double norm_of(const float *a, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)a[i];
    return sqrt(sum);
}

static void check_smooth_step(const case_t *c)
{
    step_t s = {0};
    const size_t count = c->batch * c->net->arch.classes;
    const float *logits = case_golden(c, "smooth.logits", count);
    step_run(&s, c, SMOOTH);
    assert_true(distance(nn_trainer_logits(s.trainer), logits, count) <=
                limit * norm_of(logits, count));
    check_step(c, &s, "smooth");
    step_free(&s);
}

static void first_step_follows_pytorch(void **unused)
{
    (void)unused;
    each_case(check_smooth_step);
}

/* A channel that ReLU6 holds at 0 or 6, or puts out exactly that, passes no gradient on (PyTorch's
 * hardtanh); one a unit in the last place inside does. */
static void check_kinks(const case_t *c)
{
    step_t s = {0};
    if (!case_has(c, "kinks.norm"))
        return;
    step_run(&s, c, KINKS);
    check_step(c, &s, "kinks");
    for (size_t i = 0; i < c->net->entry_count; i++) {
        const nn_entry_t *e = &c->net->entries[i];
        if ((e->kind != NN_KIND_BN_WEIGHT && e->kind != NN_KIND_BN_BIAS) || !is_clamped(c->net, e))
            continue;
        const float *g = values_of(&s, e);
        for (size_t k = 0; k < e->count; k++) {
            float value = 3;
            bool passes = !is_kink(&value, k) || (value > 0.0f && value < 6.0f);
            if (!passes && g[k] != 0.0f)
                print_error("%s: channel %zu stands at %.9g and has gradient %g\n", e->name, k,
                            (double)value, (double)g[k]);
            assert_true(passes || g[k] == 0.0f);
        }
    }
    step_free(&s);
}

static void kinks_are_pytorchs(void **unused)
{
    (void)unused;
    each_case(check_kinks);
}

/* Sums over tensors of (||difference|| / ||gradient||)^2, ours and PyTorch's. One ReLU6 that falls
 * on the other side of its kink moves a whole gradient, so it is the sum over cases that is held
 * against PyTorch's. */
static double ours, theirs;

static void check_ordinary(const case_t *c)
{
    const float *sketches = case_golden(c, "ordinary.sketch", c->rows * BUCKETS);
    const float *norms = case_golden(c, "ordinary.norm", c->rows);
    const float *errors = case_golden(c, "ordinary.error", c->rows);
    double our = 0, their = 0;
    size_t row = 0, tensors = 0;
    step_t s = {0};
    step_run(&s, c, ORDINARY);
    for (size_t i = 0; i < c->net->entry_count; i++) {
        const nn_entry_t *e = &c->net->entries[i];
        if (e->kind == NN_KIND_COUNTER)
            continue;
        double norm = (double)norms[row];
        if (e->kind <= NN_KIND_BN_BIAS && norm > 1e-6) {
            double error = error_of(values_of(&s, e), e, row, sketches + row * BUCKETS);
            our += error / norm * error / norm;
            their += (double)errors[row] / norm * (double)errors[row] / norm;
            tensors++;
        }
        row++;
    }
    print_message("case %s, %d threads, ordinary weights: gradients off by %.3g, PyTorch's float32 "
                  "by %.3g\n",
                  c->name, c->threads, sqrt(our / (double)tensors), sqrt(their / (double)tensors));
    assert_true(tensors > 100); /* the others have gradient zero */
    ours += our, theirs += their;
    step_free(&s);
}

static void ordinary_weights_err_as_pytorch_does(void **unused)
{
    (void)unused;
    ours = theirs = 0;
    each_case(check_ordinary);
    print_message("in all: %.2f times PyTorch's float32\n", sqrt(ours / theirs));
    assert_true(sqrt(ours / theirs) <= times_pytorch);
}

/* Losses to `limit`, relative where they are above 1: with features around 3 they swing up to 80. */
static void check_steps(const case_t *c)
{
    const nn_arch_t *arch = &c->net->arch;
    const size_t picture = arch->input * arch->input * 3, logit_count = c->batch * arch->classes;
    const bool steady = case_has(c, "steady.losses");
    const float *losses = case_golden(c, steady ? "steady.losses" : "smooth.losses", STEPS);
    const float *errors =
        case_golden(c, steady ? "steady.losses_error" : "smooth.losses_error", STEPS);
    const float *expected = case_golden(c, steady ? "steady.eval" : "smooth.eval", logit_count);
    const double eval_error =
        (double)*case_golden(c, steady ? "steady.eval_error" : "smooth.eval_error", 1);
    float logits[BATCH_MAX * CLASSES_MAX];
    double worst = 0;
    nn_state_t state;
    nn_trainer_t *trainer = NULL;
    nn_infer_t *infer = NULL;
    nn_optimizer_t sgd = nn_optimizer_default(NN_SGD, 0.01f);
    assert_ok(nn_state_init(&state, c->net));
    set_weights(&state, steady ? STEADY : SMOOTH);
    assert_ok(nn_trainer_new(&trainer, c->net, c->batch, c->threads, &sgd));
    for (size_t step = 0; step < STEPS; step++) {
        float *x = formula_new(1000 + step, c->batch * picture, 1);
        int32_t labels[BATCH_MAX];
        double loss;
        size_t correct;
        for (size_t i = 0; i < c->batch; i++)
            labels[i] = (int32_t)((i * 7 + step) % arch->classes);
        nn_trainer_step(trainer, &state, &loss, &correct, x, labels, c->batch, NULL);
        double off = fabs(loss - (double)losses[step]), scale = fmax(1.0, (double)losses[step]);
        bool good = off <= fmax(limit * scale, times_pytorch * (double)errors[step]);
        worst = fmax(worst, off / scale);
        if (!good)
            print_error("case %s, %d threads, step %zu: loss %.7f, PyTorch %.7f\n", c->name,
                        c->threads, step, loss, (double)losses[step]);
        assert_true(good);
        free(x);
    }
    for (size_t i = 0; i < c->net->counter_count; i++)
        assert_int_equal(state.counters[i], STEPS);
    float *x = formula_new(1000 + STEPS, c->batch * picture, 1);
    assert_ok(nn_infer_new(&infer, c->net, c->batch, c->threads));
    nn_infer_run(infer, logits, &state, x, c->batch);
    double off = distance(logits, expected, logit_count), norm = norm_of(expected, logit_count);
    print_message("case %s, %d threads: losses off by at most %.2g, PyTorch's float32 by %.2g; then "
                  "logits by %.2g, %.2g\n",
                  c->name, c->threads, worst, (double)errors[STEPS - 1], off / norm,
                  eval_error / norm);
    /* Twelve swings carry a rounding far into the statistics. */
    assert_true(off <= fmax((steady ? 1 : 10) * limit * norm, times_pytorch * eval_error));
    free(x);
    nn_infer_destroy(&infer);
    nn_trainer_destroy(&trainer);
    nn_state_free(&state);
}

static void twelve_sgd_steps_follow_pytorch(void **unused)
{
    (void)unused;
    each_case(check_steps);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(first_step_follows_pytorch),
    cmocka_unit_test(kinks_are_pytorchs),
    cmocka_unit_test(ordinary_weights_err_as_pytorch_does),
    cmocka_unit_test(twelve_sgd_steps_follow_pytorch),
};

int main(int argc, char **argv)
{
    const char *forced = getenv("HEARSAY_CPU");
    if (forced && strcmp(forced, cpu_level_name(cpu_level())) != 0) {
        printf("skipped: this CPU does not have the level %s\n", forced);
        return 77;
    }
    return TEST_MAIN(argc, argv, tests);
}
