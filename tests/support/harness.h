/* tests/support/harness.h: every test program's main: --list, --only NAME, --seed N, on cmocka.
 *
 *   static void adds(void **state) { assert_int_equal(1 + 1, 2); }
 *   static const struct CMUnitTest tests[] = {cmocka_unit_test(adds)};
 *   int main(int argc, char **argv) { return TEST_MAIN(argc, argv, tests); }
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/rng.h"

/* The seed of this run: --seed, or 1. Tests draw all their random numbers from it. */
extern uint64_t test_seed;

/* A generator for the calling test, from test_seed and a stream number of its choice. */
rng_t test_rng(uint64_t stream);

/* Fresh empty folder below $TMPDIR, removed with all it holds when the program ends. Static memory,
 * good until the program ends. */
const char *test_dir(void);

/* Asserts that an err_t is ERR_OK and prints the recorded message when it is not. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        err_t assert_ok_err_ = (call);                                                             \
        if (assert_ok_err_) {                                                                      \
            print_error("%s: %s\n", #call, err_message());                                         \
            assert_int_equal(assert_ok_err_, ERR_OK);                                              \
        }                                                                                          \
    } while (0)

/* Asserts that a call fails with `code` and that its message is exactly `text`. */
#define assert_fails(call, code, text)                                                             \
    do {                                                                                           \
        assert_int_equal((call), (code));                                                          \
        assert_string_equal(err_message(), (text));                                                \
    } while (0)

#define TEST_MAIN(argc, argv, tests) test_main(argc, argv, tests, sizeof(tests) / sizeof(tests)[0])
int test_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count);
