/* node/screen.h: what a person sees of a run: on a terminal one line a peer that moves, else a
 * plain line a peer and round. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char phase[16]; /* "loading", "training", "waiting", "testing", "consensus", "done", ... */
    uint32_t round;
    double done;           /* of the round's training, 0 .. 1 */
    double loss, accuracy; /* NAN unknown; accuracies 0 .. 1 */
    double test_accuracy, distance;
    char waits[64]; /* names of those waited for, "" for nobody */
} node_line_t;

node_line_t node_line(void); /* nothing known yet */

typedef struct node_screen_s node_screen_t;

/* `names` (peers) must outlive the screen. Draws to stdout; `plain` or no terminal: plain lines. */
node_screen_t *node_screen_new(const char *const *names, size_t peers, uint32_t rounds, bool plain);
/* Draws the last state and leaves the cursor below it. */
void node_screen_destroy(node_screen_t **screen);
void node_screen_update(node_screen_t *screen, size_t peer, const node_line_t *line);
/* A line that stays, above the moving ones. */
void node_screen_say(node_screen_t *screen, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Redraws if something changed and the last drawing is long enough ago (100 ms). */
void node_screen_draw(node_screen_t *screen);
