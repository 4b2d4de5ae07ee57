/* node/simulation_study.c: --no-train: every peer has a model of random floats, standard normal,
 * and hands in what was mixed as what it trained. So each exchange only mixes, and how much nearer
 * the peers come to their mean is the graph's and the protocol's own doing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "node/interrupt.h"
#include "node/simulation.h"

/* Of one exchange, over the peers: sums of x_i - reference. */
typedef struct {
    double *sum; /* (floats), owned */
    double square;
    size_t count;
} tally_t;

struct simulation_study_s {
    size_t peers, floats;
    uint32_t rounds;
    double *reference; /* (floats) mean of all first models: differences from it do not cancel */
    tally_t *tally;    /* (rounds + 1): ahead of the first exchange, behind each */
    float *values;     /* (floats) the last answer */
    float *zero;       /* (floats) the state that all start with */
    uint64_t seed;
};

static void draw(const simulation_study_t *study, size_t peer)
{
    rng_t rng;
    rng_init(&rng, study->seed, RNG_STREAM_INIT, peer + 1, 0);
    for (size_t i = 0; i < study->floats; i++)
        study->values[i] = (float)rng_normal(&rng);
}

err_t simulation_study_open(simulation_t *s, size_t parameters)
{
    err_t err = ERR_OK;
    if (parameters > GOSSIP_FLOATS_MAX)
        FAIL(ERR_USAGE, "--parameters %zu: at most %d", parameters, GOSSIP_FLOATS_MAX);
    s->config.quantize.precision_count = 0; /* nothing to quantize, so no records either */
    simulation_study_t *study = xcalloc(1, sizeof *study);
    s->study = study;
    TRY(node_setup_init_bare(&s->setup, &s->config, parameters));
    size_t before = memory_heap();
    study->peers = s->config.peer_count;
    study->floats = parameters;
    study->rounds = s->config.rounds;
    study->seed = s->config.seed;
    study->reference = xcalloc(parameters, sizeof *study->reference);
    study->values = xcalloc(parameters, sizeof *study->values);
    study->zero = xcalloc(parameters, sizeof *study->zero);
    study->tally = xcalloc((size_t)study->rounds + 1, sizeof *study->tally);
    for (size_t p = 0; p < study->peers; p++) {
        draw(study, p);
        for (size_t i = 0; i < parameters; i++)
            study->reference[i] += (double)study->values[i] / (double)study->peers;
    }
    s->memory.node = (memory_heap() - before) / study->peers;
out:
    return err;
}

void simulation_study_free(simulation_study_t **study_at)
{
    simulation_study_t *study = *study_at;
    if (!study)
        return;
    for (uint32_t e = 0; study->tally && e <= study->rounds; e++)
        free(study->tally[e].sum);
    free(study->tally);
    free(study->reference);
    free(study->values);
    free(study->zero);
    free(study);
    *study_at = NULL;
}

const float *simulation_study_values(const simulation_study_t *study)
{
    return study->zero;
}

static void count(simulation_study_t *study, uint32_t exchange, const float *values)
{
    if (exchange > study->rounds)
        return;
    tally_t *tally = &study->tally[exchange];
    if (!tally->sum)
        tally->sum = xcalloc(study->floats, sizeof *tally->sum);
    for (size_t i = 0; i < study->floats; i++) {
        double apart = (double)values[i] - study->reference[i];
        tally->sum[i] += apart;
        tally->square += apart * apart;
    }
    tally->count++;
}

bool simulation_study_act(void *user, size_t index, const gossip_action_t *action,
                          gossip_event_t *answer, int64_t *busy_ms)
{
    simulation_t *s = user;
    simulation_study_t *study = s->study;
    *busy_ms = 0;
    if (node_interrupted && !s->failed)
        simulation_fail(s, err_set(ERR_REFUSED, "interrupted"));
    switch (action->kind) {
    case GOSSIP_ACT_TRAIN:
        *busy_ms = simulation_round_ms(s, 1);
        if (action->round == 1) {
            draw(study, index);
        } else {
            memcpy(study->values, action->values, study->floats * sizeof *study->values);
        }
        if (action->round == 1 || action->report.exchange)
            count(study, action->report.exchange, study->values);
        *answer = (gossip_event_t){
            .kind = GOSSIP_EV_MODEL, .round = action->round, .values = study->values};
        return true;
    case GOSSIP_ACT_TRAINED:
        if (action->report.exchange)
            count(study, action->report.exchange, action->values);
        return false;
    case GOSSIP_ACT_ESTIMATE:
        *answer = (gossip_event_t){.kind = GOSSIP_EV_STATISTICS};
        return true;
    case GOSSIP_ACT_MERGE:
        *answer = (gossip_event_t){.kind = GOSSIP_EV_MERGED, .values = action->values};
        return true;
    default:
        return false;
    }
}

/* sum ||x_i - mean||^2 / peers */
static double spread(const simulation_study_t *study, uint32_t exchange)
{
    const tally_t *tally = &study->tally[exchange];
    double n = (double)tally->count, off = 0.0;
    if (tally->count != study->peers)
        return NAN;
    for (size_t i = 0; i < study->floats; i++)
        off += (tally->sum[i] / n) * (tally->sum[i] / n);
    double spread = tally->square / n - off;
    return spread > 0.0 ? spread : 0.0;
}

double simulation_study_distance(const simulation_study_t *study, uint32_t exchange)
{
    return sqrt(spread(study, exchange) / spread(study, 0));
}
