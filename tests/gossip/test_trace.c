/* A run of two peers as a story, compared line by line with trace_two_peers.txt. With
 * HEARSAY_RECORD=1 the story is written anew: read the difference before committing it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/state.h"
#include "tests/gossip/federation.h"
#include "tests/support/harness.h"

typedef struct {
    federation_t f; /* first */
    FILE *out;
} story_t;

static const char *const names[] = {"ana", "ben"};

static void tell_frame(story_t *s, size_t p, const gossip_action_t *action)
{
    static const char *const types[] = {"", "model", "state", "record"};
    static const char *const kinds[] = {
        "", " adopt", " statistics", " final", " of stage 1", " of stage 2", " roll 1", " roll 2"};
    static const char *const phases[] = {"training", "exchanging", "in consensus",
                                         "adopting", "recording",  "serving"};
    wire_announce_t said = {0};
    wire_chunk_t chunk = {0};
    wire_ask_t ask = {0};
    if (action->channel == GOSSIP_CONTROL &&
        wire_unpack_announce(&said, action->bytes, action->size))
        fprintf(s->out,
                "%s announces: %s, exchange %" PRIu64 ", newest model %" PRIu64
                ", offers %zu records%s\n",
                names[p], phases[said.phase], said.exchange, said.newest,
                said.offers.size / WIRE_OFFER_BYTES,
                said.all_done ? ", knows that all are done" : "");
    else if (action->channel == GOSSIP_REPAIR_ASK &&
             wire_unpack_ask(&ask, action->bytes, action->size))
        fprintf(s->out, "%s asks %s for %s%s of %s\n", names[p], names[action->to],
                types[ask.object.type], kinds[ask.object.kind], names[ask.object.origin]);
    else if (wire_unpack_chunk(&chunk, action->bytes, action->size))
        fprintf(s->out, "%s %s %s%s of %s, number %" PRIu64 ", chunk %" PRIu64 " of %" PRIu64 "\n",
                names[p], action->channel == GOSSIP_DATA ? "publishes" : "answers with",
                types[chunk.object.type], kinds[chunk.object.kind], names[chunk.object.origin],
                chunk.object.number, chunk.index + 1, chunk.count);
}

static void tell(void *user, size_t p, const gossip_event_t *event, const gossip_actions_t *actions)
{
    static const char *const heard[] = {"starts",
                                        NULL,
                                        NULL,
                                        "has trained its model",
                                        "has estimated its statistics",
                                        "has merged the statistics",
                                        "has made its record",
                                        "ends training",
                                        "leaves"};
    story_t *s = user;
    char when[32];
    snprintf(when, sizeof when, "%6lld ms  ", (long long)event->now_ms);
    if (heard[event->kind])
        fprintf(s->out, "%s%s %s\n", when, names[p], heard[event->kind]);
    for (size_t i = 0; i < actions->count; i++) {
        const gossip_action_t *action = &actions->items[i];
        if (action->kind == GOSSIP_ACT_WAKE)
            continue;
        fputs(when, s->out);
        switch (action->kind) {
        case GOSSIP_ACT_SEND:
            tell_frame(s, p, action);
            break;
        case GOSSIP_ACT_TRAIN:
            fprintf(s->out, "%s is to train round %u\n", names[p], action->round);
            break;
        case GOSSIP_ACT_TRAINED:
            fprintf(s->out, "%s is through with training\n", names[p]);
            break;
        case GOSSIP_ACT_ESTIMATE:
            fprintf(s->out, "%s is to estimate\n", names[p]);
            break;
        case GOSSIP_ACT_MERGE:
            fprintf(s->out, "%s is to merge %zu records\n", names[p], action->record_count);
            break;
        case GOSSIP_ACT_STAGE:
            fprintf(s->out, "%s has %zu records for stage %u\n", names[p], action->record_count,
                    action->round);
            break;
        case GOSSIP_ACT_CONSENSUS:
            fprintf(s->out, "%s has the consensus\n", names[p]);
            break;
        case GOSSIP_ACT_FINISHED:
            fprintf(s->out, "%s is finished\n", names[p]);
            break;
        case GOSSIP_ACT_NOTE:
            fprintf(s->out, "%s notes about %s: %s\n", names[p], names[action->peer], action->text);
            break;
        default:
            break;
        }
    }
}

static void two_peers_tell_the_recorded_story(void **state)
{
    (void)state;
    static const char path[] = TESTS_DIR "/gossip/trace_two_peers.txt";
    story_t s = {.f = {.peers = 2,
                       .rounds = 2,
                       .channels = 1,
                       .train_ms = {300, 400},
                       .deadline = GOSSIP_DEADLINE_ADAPTIVE}};
    char *told = NULL;
    size_t size = 0;
    s.out = open_memstream(&told, &size);
    federation_init(&s.f);
    gossip_sim_watch(s.f.sim, tell, &s);
    federation_start(&s.f);
    gossip_sim_run(s.f.sim, 100000);
    federation_assert_one(&s.f, 0);
    federation_free(&s.f);
    fclose(s.out);
    if (getenv("HEARSAY_RECORD")) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(told, file);
        fclose(file);
    }
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char line[256];
    const char *at = told;
    for (int n = 1; fgets(line, sizeof line, file); n++) {
        size_t length = strlen(line);
        if (strncmp(at, line, length) != 0)
            fail_msg("line %d: recorded \"%.*s\", told \"%.*s\"", n, (int)strcspn(line, "\n"), line,
                     (int)strcspn(at, "\n"), at);
        at += length;
    }
    assert_string_equal(at, "");
    fclose(file);
    free(told);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(two_peers_tell_the_recorded_story)};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
