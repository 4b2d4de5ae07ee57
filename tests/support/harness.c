#include "tests/support/harness.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t test_seed = 1;
static char dirs[64][256];
static size_t dir_count;

rng_t test_rng(uint64_t stream)
{
    rng_t rng;
    rng_init(&rng, test_seed, RNG_STREAM_TEST, stream, 0);
    return rng;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void remove_dirs(void)
{
    for (size_t i = 0; i < dir_count; i++)
        nftw(dirs[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_dir(void)
{
    const char *base = getenv("TMPDIR");
    if (dir_count == sizeof dirs / sizeof dirs[0])
        abort();
    char *dir = dirs[dir_count];
    snprintf(dir, sizeof dirs[0], "%s/hearsay-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        abort();
    }
    if (dir_count++ == 0)
        atexit(remove_dirs);
    return dir;
}

int test_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    const char *only = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--list")) {
            for (size_t t = 0; t < count; t++)
                puts(tests[t].name);
            return 0;
        } else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
            only = argv[++i];
        } else if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
            test_seed = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: %s [--list] [--only NAME] [--seed N]\n", argv[0]);
            return 2;
        }
    }
    struct CMUnitTest *selected = calloc(count, sizeof *selected);
    size_t n = 0;
    for (size_t t = 0; t < count; t++)
        if (!only || !strcmp(only, tests[t].name))
            selected[n++] = tests[t];
    if (n == 0) {
        fprintf(stderr, "%s: no test named %s; see --list\n", argv[0], only ? only : "?");
        free(selected);
        return 2;
    }
    int failed = _cmocka_run_group_tests(argv[0], selected, n, NULL, NULL);
    if (failed)
        fprintf(stderr, "%s: %d failed with --seed %llu\n", argv[0], failed,
                (unsigned long long)test_seed);
    free(selected);
    return failed ? 1 : 0;
}
