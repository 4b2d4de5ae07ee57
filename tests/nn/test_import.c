/* A checkpoint that PyTorch wrote, against the logits that PyTorch has for it; heads; what a file
 * of a prefix and no tensors, or of bytes cut at every place, does. */
#include "base/file.h"
#include "nn/import.h"
#include "nn/infer.h"
#include "nn/torch_file.h"
#include "tests/nn/support.h"

enum { PICTURES = 4, CLASSES = 3, PIXELS = 28 * 28 * 3 };
#define CHECKPOINT GOLDEN_DIR "/torch_checkpoint.pth"

/* tests/golden/torch_checkpoint.py wrote it. */
static void read_logits(float out[PICTURES * CLASSES])
{
    FILE *file = fopen(GOLDEN_DIR "/torch_checkpoint.txt", "r");
    assert_non_null(file);
    for (int i = 0; i < PICTURES * CLASSES; i++)
        assert_int_equal(fscanf(file, "%f", &out[i]), 1);
    fclose(file);
}

typedef struct {
    nn_tensor_file_t *file;
    nn_net_t *net;
    nn_state_t state;
    nn_import_report_t report;
} imported_t;

static void import_checkpoint(imported_t *m, size_t classes, uint64_t seed)
{
    nn_arch_t arch = {.classes = classes};
    assert_ok(nn_tensor_file_open(&m->file, CHECKPOINT));
    assert_ok(nn_import_arch(&arch, m->file));
    assert_ok(nn_net_new(&m->net, &arch));
    assert_ok(nn_state_init(&m->state, m->net));
    assert_ok(nn_import_state(&m->state, &m->report, m->file, NULL, seed));
}

static void imported_free(imported_t *m)
{
    nn_state_free(&m->state);
    nn_net_destroy(&m->net);
    nn_tensor_file_close(&m->file);
}

static void a_checkpoint_gives_pytorchs_logits(void **unused)
{
    (void)unused;
    imported_t m;
    nn_infer_t *infer = NULL;
    float logits[PICTURES * CLASSES], expected[PICTURES * CLASSES];
    import_checkpoint(&m, 0, 1);
    assert_string_equal(m.net->arch.name, "cnn");
    assert_int_equal(m.net->arch.input, 28);
    assert_int_equal(m.net->arch.classes, CLASSES);
    assert_string_equal(nn_tensor_file_format(m.file), "PyTorch");
    assert_string_equal(nn_tensor_file_wrapper(m.file), "state_dict");
    assert_string_equal(nn_tensor_file_prefix(m.file), "module.");
    assert_false(m.report.head_drawn);
    assert_int_equal(m.report.counters_missing, 0);
    for (size_t i = 0; i < m.net->counter_count; i++)
        assert_int_equal(m.state.counters[i], 3);
    float *x = formula_new(31, PICTURES * PIXELS, 1);
    assert_ok(nn_infer_new(&infer, m.net, PICTURES, 1));
    nn_infer_run(infer, logits, &m.state, x, PICTURES);
    read_logits(expected);
    check_near("logits", logits, expected, PICTURES * CLASSES, 1e-5);
    free(x);
    nn_infer_destroy(&infer);
    imported_free(&m);
}

static void other_classes_get_a_head_as_it_is_drawn(void **unused)
{
    (void)unused;
    imported_t m, again, kept;
    nn_state_t drawn;
    import_checkpoint(&m, 7, 9);
    import_checkpoint(&again, 7, 9);
    import_checkpoint(&kept, 0, 9);
    assert_true(m.report.head_drawn);
    assert_false(m.report.head_names);
    assert_int_equal(m.report.file_classes, CLASSES);
    assert_memory_equal(m.state.values, again.state.values, m.net->float_count * sizeof(float));
    assert_ok(nn_state_init(&drawn, m.net));
    nn_state_draw(&drawn, 9);
    size_t head = m.net->entries[nn_net_find(m.net, "fc3.weight")].offset;
    assert_memory_equal(m.state.values + head, drawn.values + head,
                        (m.net->float_count - head) * sizeof(float));
    assert_memory_equal(m.state.values, kept.state.values, head * sizeof(float));
    nn_state_free(&drawn);
    imported_free(&m);
    imported_free(&again);
    imported_free(&kept);
}

/* Cut anywhere, or one byte changed anywhere: refused, or it gives tensors that can be read. */
static void damage_anywhere_is_survived(void **unused)
{
    (void)unused;
    unsigned char *bytes = NULL;
    size_t size = 0, opened = 0;
    rng_t rng = test_rng(1);
    assert_ok(file_read(&bytes, &size, CHECKPOINT, 1 << 20));
    for (int i = 0; i < 600; i++) {
        nn_tensor_file_t *file = NULL;
        size_t at = (size_t)rng_below(&rng, size);
        unsigned char bit = (unsigned char)(1u << rng_below(&rng, 8));
        unsigned char *copy = malloc(size);
        size_t length = i % 2 ? at : size;
        memcpy(copy, bytes, size);
        copy = realloc(copy, length + 1);
        if (i % 2 == 0)
            copy[at] ^= bit;
        err_clear();
        if (!nn_tensor_file_parse(&file, copy, length, "f")) {
            opened++;
            for (size_t k = 0; k < nn_tensor_file_count(file); k++) {
                const nn_tensor_info_t *info = nn_tensor_file_at(file, k);
                float *values = malloc((info->count < 1 << 20 ? info->count : 1) * sizeof *values);
                if (info->count < 1 << 20)
                    (void)nn_tensor_file_floats(values, file, info);
                free(values);
            }
        } else {
            assert_true(strlen(err_message()) > 3);
        }
        nn_tensor_file_close(&file);
        free(copy);
    }
    print_message("%zu of 300 with a changed bit opened: it lies in a storage\n", opened);
    free(bytes);
}

static void a_tensors_name_is_its_own(void **unused)
{
    (void)unused;
    /* One name, with and without what is taken off: not all have it, so nothing is. */
    static const char header[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
        "\"module.a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]}}";
    unsigned char bytes[8 + sizeof header - 1 + 8] = {sizeof header - 1};
    nn_tensor_file_t *file = NULL;
    memcpy(bytes + 8, header, sizeof header - 1);
    assert_ok(nn_tensor_file_parse(&file, bytes, sizeof bytes, "f"));
    assert_string_equal(nn_tensor_file_prefix(file), "");
    assert_non_null(nn_tensor_file_find(file, "module.a"));
    assert_null(nn_tensor_file_find(file, "b"));
    nn_arch_t arch = {0};
    assert_fails(nn_import_arch(&arch, file), ERR_FORMAT,
                 "f: its 2 tensors are of no net that hearsay has: a mobilenet_v2 as torchvision "
                 "names it has features.0.0.weight to classifier.1.bias, a cnn conv1.weight to "
                 "fc3.bias");
    nn_tensor_file_close(&file);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_checkpoint_gives_pytorchs_logits),
    cmocka_unit_test(other_classes_get_a_head_as_it_is_drawn),
    cmocka_unit_test(damage_anywhere_is_survived),
    cmocka_unit_test(a_tensors_name_is_its_own),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
