/* node/simulation_report.c: what a simulation did and cost. */
#include <math.h>
#include <sys/resource.h>

#include <jansson.h>

#include "base/memory.h"
#include "node/simulation.h"

double simulation_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           1e-6 * ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec);
}

static double per(double amount, double of)
{
    return of > 0 ? amount / of : 0.0;
}

/* Exchange by exchange, how far the peers of a study are from their mean. */
static json_t *distances(const simulation_t *s)
{
    json_t *list = json_array();
    for (uint32_t e = 0; e <= s->config.rounds; e++) {
        double distance = simulation_study_distance(s->study, e);
        json_array_append_new(list, isfinite(distance) ? json_real(distance) : json_null());
    }
    return list;
}

/* The factor that one exchange brings the peers nearer by, over the second half of those that are
 * above what float32 can tell; NAN: there are too few. */
static double contraction(const simulation_t *s)
{
    const double FLOOR = 1e-5;
    uint32_t end = 0;
    while (end < s->config.rounds && simulation_study_distance(s->study, end + 1) > FLOOR)
        end++;
    uint32_t begin = end / 2;
    if (end - begin < 2)
        return NAN;
    return pow(simulation_study_distance(s->study, end) /
                   simulation_study_distance(s->study, begin),
               1.0 / (double)(end - begin));
}

static json_t *describe(const simulation_t *s, size_t finished)
{
    gossip_sim_totals_t totals = gossip_sim_totals(s->sim);
    double peers = (double)s->config.peer_count, run_s = s->ended_s - s->begun_s;
    double cpu_s = s->ended_cpu_s - s->begun_cpu_s;
    uint32_t exchanges = 0;
    for (size_t i = 0; i < s->config.peer_count; i++) {
        gossip_status_t status;
        gossip_status(gossip_sim_peer(s->sim, i), &status);
        exchanges = status.exchange > exchanges ? status.exchange : exchanges;
    }
    exchanges = exchanges ? exchanges - 1 : 0; /* the one in work was never mixed */
    return json_pack(
        "{s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f, "
        "s:f, s:f, s:I, s:I, s:f}",
        "peers", (json_int_t)s->config.peer_count, "finished", (json_int_t)finished, "topology",
        gossip_topology_name(s->config.gossip.topology), "parameters",
        (json_int_t)s->setup.table.floats, "seed", (json_int_t)s->config.seed, "rounds",
        (json_int_t)s->config.rounds, "exchanges", (json_int_t)exchanges, "virtual_s",
        (double)gossip_sim_now_ms(s->sim) / 1e3, "setup_s", s->begun_s - s->started_s, "run_s",
        run_s, "rounds_per_s", per(exchanges, run_s), "steps", (json_int_t)totals.steps, "messages",
        (json_int_t)totals.messages, "lost", (json_int_t)totals.lost, "bytes",
        (json_int_t)totals.bytes, "bytes_per_peer", per((double)totals.bytes, peers),
        "bytes_per_peer_round", per((double)totals.bytes, peers * exchanges), "us_per_message",
        per(1e6 * cpu_s, (double)totals.messages), "cpu_s", cpu_s, "gossip_bytes_per_peer",
        (json_int_t)s->memory.gossip, "node_bytes_per_peer", (json_int_t)s->memory.node, "rss_mb",
        (double)memory_peak() / 1e6);
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

void simulation_report(const simulation_t *s, bool json, size_t finished)
{
    json_t *object = describe(s, finished);
    const char *algorithm = node_config_algorithm_name(node_config_algorithm(&s->config));
    double rate = s->study ? contraction(s) : NAN;
    json_object_set_new(object, "algorithm", json_string(algorithm));
    if (s->study) {
        json_object_set_new(object, "distances", distances(s));
        json_object_set_new(object, "contraction", isfinite(rate) ? json_real(rate) : json_null());
    }
    if (json) {
        char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        puts(text);
        free(text);
    } else {
        printf("%.0f exchanges in %.1f s (%.3g a second), %.1f virtual seconds; %.3g bytes a peer "
               "and exchange, %.3g messages in all\n",
               real(object, "exchanges"), real(object, "run_s"), real(object, "rounds_per_s"),
               real(object, "virtual_s"), real(object, "bytes_per_peer_round"),
               real(object, "messages"));
        printf("memory: a peer %.1f kB for %s, %.1f kB for its node; %.0f MB at most\n",
               real(object, "gossip_bytes_per_peer") / 1e3, algorithm,
               real(object, "node_bytes_per_peer") / 1e3, real(object, "rss_mb"));
    }
    if (s->study && !json && isfinite(rate))
        printf("contraction: %.4f an exchange; distance to the mean %.3g of what it was after %u "
               "rounds\n",
               rate, simulation_study_distance(s->study, s->config.rounds), s->config.rounds);
    json_decref(object);
}
