/* Errors, arenas and hashes. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/hash.h"
#include "tests/support/harness.h"

static err_t fails_inside(int n, int *freed)
{
    err_t err = ERR_OK;
    if (n == 0)
        FAIL(ERR_IO, "open %s: %d", "x", 7);
    TRY(fails_inside(n - 1, freed));
    freed = NULL; /* not reached */
out:
    if (freed)
        ++*freed;
    return err;
}

static void a_failure_keeps_its_code_and_message_on_its_way_up(void **state)
{
    (void)state;
    int freed = 0;
    err_clear();
    assert_string_equal(err_message(), "");
    assert_fails(fails_inside(3, &freed), ERR_IO, "open x: 7");
    assert_int_equal(freed, 4);
    assert_int_equal(err_prefix(ERR_IO, "peer %d", 2), ERR_IO);
    assert_string_equal(err_message(), "peer 2: open x: 7");
    err_clear();
    assert_string_equal(err_message(), "");
}

static void a_message_too_long_is_cut(void **state)
{
    (void)state;
    char text[4096];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(ERR_FORMAT, "%s", text);
    assert_int_equal(strlen(err_message()), 2047);
    err_prefix(ERR_FORMAT, "file");
    assert_memory_equal(err_message(), "file: aaa", 9);
    assert_true(strlen(err_message()) <= 2047);
}

static void an_arena_gives_aligned_zeroed_memory_from_the_front(void **state)
{
    (void)state;
    arena_t arena;
    assert_ok(arena_init(&arena, 1000));
    assert_int_equal(arena.size_bytes, 1024);
    unsigned char *a = arena_alloc(&arena, 1), *b = arena_alloc(&arena, 65);
    assert_int_equal((uintptr_t)a % ARENA_ALIGN, 0);
    assert_ptr_equal(b, a + 64);
    assert_int_equal(arena.used_bytes, 192);
    for (int i = 0; i < 128; i++)
        assert_int_equal(b[i], 0);
    arena_free(&arena);
    assert_null(arena.base);
}

static void rewinding_gives_back_and_the_peak_stays(void **state)
{
    (void)state;
    arena_t arena;
    assert_ok(arena_init(&arena, 1024));
    arena_alloc(&arena, 64);
    size_t mark = arena_mark(&arena);
    void *first = arena_alloc(&arena, 512);
    arena_rewind(&arena, mark);
    assert_int_equal(arena.used_bytes, 64);
    assert_ptr_equal(arena_alloc(&arena, 128), first);
    assert_int_equal(arena.peak_bytes, 576);
    arena_rewind(&arena, 0);
    arena_alloc(&arena, 1024); /* to the last byte */
    arena_free(&arena);
}

static void size_functions_round_up(void **state)
{
    (void)state;
    static const size_t cases[][2] = {{0, 0}, {1, 64}, {64, 64}, {65, 128}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(arena_round(cases[i][0]), cases[i][1]);
}

static void too_much_memory_is_an_error(void **state)
{
    (void)state;
    arena_t arena;
    assert_fails(arena_init(&arena, SIZE_MAX), ERR_MEMORY,
                 "no memory for a block of 17592186044415 MB");
    arena_free(&arena);
}

/* In a child of its own: whether `act` aborts. */
static bool aborts(void (*act)(void))
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        act();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void overfill(void)
{
    arena_t arena;
    if (arena_init(&arena, 128))
        _exit(1);
    arena_alloc(&arena, 64);
    arena_alloc(&arena, 65);
}

static void overflow(void)
{
    arena_t arena;
    if (arena_init(&arena, 128))
        _exit(1);
    arena_alloc(&arena, SIZE_MAX - 3);
}

static void rewind_forward(void)
{
    arena_t arena;
    if (arena_init(&arena, 128))
        _exit(1);
    arena_rewind(&arena, 64);
}

static void fill_exactly(void)
{
    arena_t arena;
    if (arena_init(&arena, 128))
        _exit(1);
    arena_alloc(&arena, 128);
}

static void our_own_mistakes_with_an_arena_abort(void **state)
{
    (void)state;
    assert_true(aborts(overfill));
    assert_true(aborts(overflow));
    assert_true(aborts(rewind_forward));
    assert_false(aborts(fill_exactly));
}

static void assert_hash(const hash_t *hash, const char *expected)
{
    char text[HASH_HEX];
    hash_hex(text, hash);
    assert_string_equal(text, expected);
}

static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void sha256_gives_the_standards_numbers(void **state)
{
    (void)state;
    hash_t hash = hash_bytes("abc", 3); /* FIPS 180-2, appendix B.1 */
    assert_hash(&hash, abc);
    hash = hash_bytes("", 0);
    assert_hash(&hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void pieces_hash_as_the_whole_does(void **state)
{
    (void)state;
    hash_stream_t *stream = hash_stream_new();
    hash_stream_add(stream, "a", 1);
    hash_stream_add(stream, "", 0);
    hash_stream_add(stream, "bc", 2);
    hash_t hash = hash_stream_end(&stream);
    assert_null(stream);
    assert_hash(&hash, abc);
}

static void a_file_hashes_as_its_bytes_do(void **state)
{
    (void)state;
    static unsigned char bytes[200000]; /* more than one piece */
    char path[512], message[600];
    rng_t rng = test_rng(1);
    hash_t hash, expected;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)rng_below(&rng, 256);
    snprintf(path, sizeof path, "%s/x", test_dir());
    snprintf(message, sizeof message, "open %s: No such file or directory", path);
    assert_fails(hash_file(&hash, path), ERR_IO, message);
    assert_ok(file_write(path, bytes, sizeof bytes));
    assert_ok(hash_file(&hash, path));
    expected = hash_bytes(bytes, sizeof bytes);
    assert_memory_equal(hash.bytes, expected.bytes, HASH_BYTES);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_failure_keeps_its_code_and_message_on_its_way_up),
    cmocka_unit_test(a_message_too_long_is_cut),
    cmocka_unit_test(an_arena_gives_aligned_zeroed_memory_from_the_front),
    cmocka_unit_test(rewinding_gives_back_and_the_peak_stays),
    cmocka_unit_test(size_functions_round_up),
    cmocka_unit_test(too_much_memory_is_an_error),
    cmocka_unit_test(our_own_mistakes_with_an_arena_abort),
    cmocka_unit_test(sha256_gives_the_standards_numbers),
    cmocka_unit_test(pieces_hash_as_the_whole_does),
    cmocka_unit_test(a_file_hashes_as_its_bytes_do),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
