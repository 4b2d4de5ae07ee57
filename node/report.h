/* node/report.h: how a peer's process tells the one that started it how it goes: lines of JSON
 * through the file descriptor that HEARSAY_PROGRESS_FD names, or straight to its own screen. */
#pragma once
#include "gossip/gossip.h"
#include "node/learner.h"
#include "node/screen.h"

/* What a learner says of itself, as a line; nobody is waited for. */
void node_report_progress(node_line_t *line, const node_progress_t *progress);

/* Writes one line of JSON; does nothing when nobody reads any more. */
void node_report_line(int fd, const node_line_t *line);
/* Something to be told at once: "p3 is silent for 4 s". */
void node_report_say(int fd, const char *text);

/* What happened to another peer, in words; false when it is nothing to bother people with. All
 * peers tell of one event in the same words. */
bool node_report_note(char *text, size_t size, const char *const *names, size_t self,
                      const gossip_action_t *note);

/* Takes one line apart: a state (returns 'l', *line filled), a text (returns 't', `text` filled),
 * or neither (0). */
char node_report_parse(const char *json, size_t size, node_line_t *line, char *text,
                       size_t text_size);
