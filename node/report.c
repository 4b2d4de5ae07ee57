#include "node/report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"

void node_report_progress(node_line_t *line, const node_progress_t *progress)
{
    snprintf(line->phase, sizeof line->phase, "%s", progress->phase);
    line->round = progress->round;
    line->done = progress->done;
    line->loss = progress->loss;
    line->accuracy = progress->accuracy;
    line->test_accuracy = progress->test_accuracy;
    line->distance = progress->distance;
    line->waits[0] = '\0';
}

static void put(json_t *object, const char *key, double value)
{
    if (isfinite(value))
        json_object_set_new(object, key, json_real(value));
}

static void write_object(int fd, json_t *object)
{
    char buffer[1024];
    size_t n = json_dumpb(object, buffer, sizeof buffer - 1, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(object);
    if (n == 0 || n >= sizeof buffer)
        return;
    buffer[n++] = '\n';
    /* Less than PIPE_BUF: whole or not at all. A reader that is gone is not our failure. */
    if (write(fd, buffer, n) < 0)
        return;
}

void node_report_line(int fd, const node_line_t *line)
{
    json_t *object = json_pack("{s:s, s:I, s:s}", "phase", line->phase, "round",
                               (json_int_t)line->round, "waits", line->waits);
    CHECK(object);
    put(object, "done", line->done);
    put(object, "loss", line->loss);
    put(object, "accuracy", line->accuracy);
    put(object, "test_accuracy", line->test_accuracy);
    put(object, "distance", line->distance);
    write_object(fd, object);
}

void node_report_say(int fd, const char *text)
{
    char clean[256];
    text_printable(clean, sizeof clean, text, strlen(text));
    json_t *object = json_pack("{s:s}", "say", clean);
    if (object)
        write_object(fd, object);
}

bool node_report_note(char *text, size_t size, const char *const *names, size_t self,
                      const gossip_action_t *note)
{
    const char *peer = names[note->peer];
    switch (note->note) {
    case GOSSIP_NOTE_SUSPECT:
        snprintf(text, size, "%s is silent", peer);
        return true;
    case GOSSIP_NOTE_DEAD:
        snprintf(text, size, "%s is given up as dead: it leaves the graph", peer);
        return true;
    case GOSSIP_NOTE_BACK:
        snprintf(text, size, "%s is back", peer);
        return true;
    case GOSSIP_NOTE_LEFT:
        snprintf(text, size, "%s said goodbye and left", peer);
        return true;
    case GOSSIP_NOTE_LATE:
        snprintf(text, size, "round %u goes on without %s", note->round, peer);
        return true;
    case GOSSIP_NOTE_UNSOUND:
        snprintf(text, size, "%s refuses the model of %s in round %u: NaN, Inf or damage",
                 names[self], peer, note->round);
        return true;
    case GOSSIP_NOTE_PROBATION:
        snprintf(text, size, "%s puts %s on probation in round %u: %s", names[self], peer,
                 note->round, note->text);
        return true;
    case GOSSIP_NOTE_REFUSED:
        snprintf(text, size, "%s refuses %s: %s", names[self], peer, note->text);
        return true;
    case GOSSIP_NOTE_CAUGHT_UP:
        snprintf(text, size, "%s, behind %s, %s", names[self], peer, note->text);
        return true;
    case GOSSIP_NOTE_FAR:
        snprintf(text, size, "%s: the consensus of %s %s", names[self], peer, note->text);
        return true;
    default:
        return false;
    }
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void string(char *out, size_t size, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    text_printable(out, size, text ? text : "", text ? strlen(text) : 0);
}

char node_report_parse(const char *json, size_t size, node_line_t *line, char *text,
                       size_t text_size)
{
    char kind = 0;
    json_t *object = json_loadb(json, size, 0, NULL);
    if (json_object_get(object, "say")) {
        string(text, text_size, object, "say");
        kind = 't';
    } else if (json_object_get(object, "phase")) {
        string(line->phase, sizeof line->phase, object, "phase");
        string(line->waits, sizeof line->waits, object, "waits");
        line->round = (uint32_t)json_integer_value(json_object_get(object, "round"));
        line->done = number(object, "done");
        line->loss = number(object, "loss");
        line->accuracy = number(object, "accuracy");
        line->test_accuracy = number(object, "test_accuracy");
        line->distance = number(object, "distance");
        kind = 'l';
    }
    json_decref(object);
    return kind;
}
