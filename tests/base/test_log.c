/* HEARSAY_LOG's rules and what a line looks like. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "tests/support/harness.h"

static void set_rules(const char *rules)
{
    if (rules)
        setenv("HEARSAY_LOG", rules, 1);
    else
        unsetenv("HEARSAY_LOG");
    log_init(LOG_INFO);
}

static void without_rules_the_given_level_holds(void **state)
{
    (void)state;
    set_rules(NULL);
    assert_true(log_enabled(LOG_ERROR, "nn"));
    assert_true(log_enabled(LOG_INFO, "nn"));
    assert_false(log_enabled(LOG_DEBUG, "nn"));
}

static void a_bare_level_holds_for_all(void **state)
{
    (void)state;
    set_rules("debug");
    assert_true(log_enabled(LOG_DEBUG, "nn"));
    assert_false(log_enabled(LOG_TRACE, "nn"));
    set_rules("error");
    assert_false(log_enabled(LOG_WARN, "nn"));
}

static void a_rule_for_a_folder_holds_for_it_alone(void **state)
{
    (void)state;
    set_rules("gossip:debug,nn:trace,warn,data:error");
    assert_true(log_enabled(LOG_DEBUG, "gossip"));
    assert_false(log_enabled(LOG_TRACE, "gossip"));
    assert_true(log_enabled(LOG_TRACE, "nn"));
    assert_false(log_enabled(LOG_WARN, "data"));
    assert_true(log_enabled(LOG_WARN, "node"));
    assert_false(log_enabled(LOG_INFO, "node"));
}

static void rules_that_make_no_sense_are_passed_over(void **state)
{
    (void)state;
    set_rules(",loud,gossip:loud,:,gossip,a_module_name_far_too_long_for_any:debug,nn:debug,");
    assert_true(log_enabled(LOG_INFO, "gossip"));
    assert_false(log_enabled(LOG_DEBUG, "gossip"));
    assert_true(log_enabled(LOG_DEBUG, "nn"));
    set_rules(NULL);
    assert_false(log_enabled(LOG_DEBUG, "nn")); /* log_init forgets the old rules */
}

/* Runs three log lines with stderr going to a file; its content, static. */
static const char *stderr_of_three_lines(void)
{
    static char content[4096];
    char path[512];
    unsigned char *data = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/stderr", test_dir());
    fflush(stderr);
    int kept = dup(STDERR_FILENO), fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    dup2(fd, STDERR_FILENO);
    close(fd);
    log_init(LOG_INFO);
    log_info("round_done", "round=%d heard=%d", 3, 4);
    log_debug("chunk", "n=%d", 1);
    log_error("peer_gone", "peer=%s", "ana");
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_ok(file_read(&data, &size, path, sizeof content - 1));
    memcpy(content, data, size + 1);
    free(data);
    return content;
}

static void a_line_is_time_level_module_event_and_text(void **state)
{
    (void)state;
    int h, m, s, ms, used = 0;
    unsetenv("HEARSAY_LOG");
    const char *text = stderr_of_three_lines();
    assert_int_equal(sscanf(text, "%2d:%2d:%2d.%3d%n", &h, &m, &s, &ms, &used), 4);
    assert_int_equal(used, 12);
    text += used;
    const char *first = " info test_log round_done round=3 heard=4\n";
    assert_memory_equal(text, first, strlen(first));
    text += strlen(first) + 12;
    assert_string_equal(text, " error test_log peer_gone peer=ana\n");
}

static void the_log_file_has_a_level_of_its_own_and_is_appended_to(void **state)
{
    (void)state;
    char path[512];
    unsigned char *data = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/node.log", test_dir());
    assert_ok(file_write(path, "before\n", 7));
    assert_ok(log_open_file(path, LOG_DEBUG));
    assert_true(log_enabled(LOG_DEBUG, "nn"));
    stderr_of_three_lines();
    log_close_file();
    assert_false(log_enabled(LOG_DEBUG, "nn"));
    log_error("after", "not in the file");
    assert_ok(file_read(&data, &size, path, 4096));
    assert_memory_equal(data, "before\n", 7);
    assert_non_null(strstr((char *)data, " debug test_log chunk n=1\n"));
    assert_non_null(strstr((char *)data, " error test_log peer_gone peer=ana\n"));
    assert_null(strstr((char *)data, "after"));
    assert_null(strchr((char *)data, '\033'));
    free(data);
}

static void a_log_file_that_cannot_be_opened_is_named(void **state)
{
    (void)state;
    char path[512], message[600];
    snprintf(path, sizeof path, "%s/no/node.log", test_dir());
    snprintf(message, sizeof message, "open log %s: No such file or directory", path);
    assert_fails(log_open_file(path, LOG_INFO), ERR_IO, message);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_rules_the_given_level_holds),
    cmocka_unit_test(a_bare_level_holds_for_all),
    cmocka_unit_test(a_rule_for_a_folder_holds_for_it_alone),
    cmocka_unit_test(rules_that_make_no_sense_are_passed_over),
    cmocka_unit_test(a_line_is_time_level_module_event_and_text),
    cmocka_unit_test(the_log_file_has_a_level_of_its_own_and_is_appended_to),
    cmocka_unit_test(a_log_file_that_cannot_be_opened_is_named),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
