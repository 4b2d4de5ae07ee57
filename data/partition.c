#include "data/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { DIRICHLET_ATTEMPTS = 200 };

/* round(count * fraction), halves up: the one rounding of this file. */
static size_t share(size_t count, double fraction)
{
    return (size_t)floor((double)count * fraction + 0.5);
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_index(data_index_t *index)
{
    qsort(index->indices, index->count, sizeof *index->indices, ascending);
}

static void index_reserve(data_index_t *index, size_t capacity)
{
    *index = (data_index_t){.indices = xcalloc(capacity, sizeof *index->indices)};
}

static void index_add(data_index_t *index, uint32_t value)
{
    index->indices[index->count++] = value;
}

void data_index_free(data_index_t *index)
{
    free(index->indices);
    *index = (data_index_t){0};
}

void data_split_free(data_split_t *split)
{
    data_index_free(&split->test);
    for (size_t p = 0; p < split->peers; p++) {
        data_index_free(&split->train[p]);
        data_index_free(&split->local_test[p]);
    }
    free(split->train);
    free(split->local_test);
    *split = (data_split_t){0};
}

static err_t check_fraction(const char *key, double fraction)
{
    err_t err = ERR_OK;
    if (!(fraction >= 0.0 && fraction <= 0.9))
        FAIL(ERR_CONFIG, "%s: %g is not between 0 and 0.9", key, fraction);
out:
    return err;
}

static err_t check_spec(const data_split_spec_t *spec, size_t count)
{
    err_t err = ERR_OK;
    TRY(check_fraction("data.test_fraction", spec->test_fraction));
    TRY(check_fraction("data.local_test_fraction", spec->local_test_fraction));
    if (spec->peers < 1)
        FAIL(ERR_CONFIG, "a data set cannot be split among 0 peers: set peers.count");
    if (spec->kind == DATA_PARTITION_DIRICHLET && !(spec->alpha > 0.0 && isfinite(spec->alpha)))
        FAIL(ERR_CONFIG, "data.partition dirichlet(%g): alpha must be above 0", spec->alpha);
    if (spec->kind == DATA_PARTITION_SHARDS && spec->shards < 1)
        FAIL(ERR_CONFIG, "data.partition shards(0): a peer needs at least 1 shard");
    if (count > UINT32_MAX)
        FAIL(ERR_CONFIG, "%zu pictures, at most %u are possible", count, UINT32_MAX);
    if (count / DATA_PEER_PICTURES_MIN < spec->peers)
        FAIL(ERR_CONFIG,
             "%zu pictures are too few for %zu peers, each needs at least %d: use fewer peers or "
             "more pictures",
             count, spec->peers, DATA_PEER_PICTURES_MIN);
out:
    return err;
}

/* Draws the test set, class by class; the others go to `rest`, ascending. A class's draw follows
 * from (seed, class) and its own pictures alone. */
static void split_test(data_index_t *test, data_index_t *rest, const data_split_spec_t *spec,
                       const int32_t *labels, size_t count, size_t class_count)
{
    data_index_t own;
    index_reserve(&own, count);
    index_reserve(test, count);
    index_reserve(rest, count);
    for (size_t c = 0; c < class_count; c++) {
        rng_t rng;
        own.count = 0;
        for (size_t i = 0; i < count; i++)
            if ((size_t)labels[i] == c)
                index_add(&own, (uint32_t)i);
        rng_init(&rng, spec->seed, RNG_STREAM_SPLIT, c, 0);
        rng_shuffle_u32(&rng, own.indices, own.count);
        size_t taken = share(own.count, spec->test_fraction);
        for (size_t i = 0; i < own.count; i++)
            index_add(i < taken ? test : rest, own.indices[i]);
    }
    sort_index(test);
    sort_index(rest);
    data_index_free(&own);
}

/* Groups `index` by class without changing the order within one.
 *   out starts (class_count + 1) where each class begins */
static void group_by_class(data_index_t *index, size_t *starts, const int32_t *labels,
                           size_t class_count)
{
    uint32_t *grouped = xcalloc(index->count, sizeof *grouped);
    size_t n = 0;
    for (size_t c = 0; c < class_count; c++) {
        starts[c] = n;
        for (size_t i = 0; i < index->count; i++)
            if ((size_t)labels[index->indices[i]] == c)
                grouped[n++] = index->indices[i];
    }
    starts[class_count] = n;
    memcpy(index->indices, grouped, n * sizeof *grouped);
    free(grouped);
}

static void deal_iid(data_split_t *split, const data_index_t *rest)
{
    for (size_t i = 0; i < rest->count; i++)
        index_add(&split->train[i % split->peers], rest->indices[i]);
}

/* One class's proportions over the peers: Dirichlet(alpha, ..., alpha) as normalised gammas. All
 * gammas underflow when alpha is tiny; one peer then takes all, which is the limit at alpha 0.
 *   out ends (peers) of each peer's run in 0 .. count */
static void draw_dirichlet(size_t *ends, double *gammas, rng_t *rng, size_t peers, double alpha,
                           size_t count)
{
    double sum = 0.0, below = 0.0;
    for (size_t p = 0; p < peers; p++)
        sum += gammas[p] = rng_gamma(rng, alpha);
    size_t winner = (size_t)rng_below(rng, peers);
    for (size_t p = 0; p < peers; p++) {
        below += sum > 0.0 ? gammas[p] / sum : (double)(p == winner);
        ends[p] = p + 1 == peers ? count : share(count, below < 1.0 ? below : 1.0);
    }
}

/* Every class is cut at the rounded running sums of its proportions. All is drawn anew until each
 * peer has its minimum. */
static err_t deal_dirichlet(data_split_t *split, data_index_t *rest, const data_split_spec_t *spec,
                            const int32_t *labels, size_t class_count)
{
    err_t err = ERR_OK;
    size_t peers = split->peers, least = 0;
    size_t *starts = xcalloc(class_count + 1, sizeof *starts);
    size_t *ends = xcalloc(class_count * peers, sizeof *ends);
    size_t *totals = xcalloc(peers, sizeof *totals);
    double *gammas = xcalloc(peers, sizeof *gammas);
    rng_t rng;
    rng_init(&rng, spec->seed, RNG_STREAM_PARTITION, 1, 0);
    group_by_class(rest, starts, labels, class_count);
    for (int attempt = 0; attempt < DIRICHLET_ATTEMPTS && least < DATA_PEER_PICTURES_MIN;
         attempt++) {
        memset(totals, 0, peers * sizeof *totals);
        for (size_t c = 0; c < class_count; c++) {
            size_t *own = ends + c * peers;
            draw_dirichlet(own, gammas, &rng, peers, spec->alpha, starts[c + 1] - starts[c]);
            for (size_t p = 0; p < peers; p++)
                totals[p] += own[p] - (p ? own[p - 1] : 0);
        }
        least = SIZE_MAX;
        for (size_t p = 0; p < peers; p++)
            least = totals[p] < least ? totals[p] : least;
    }
    if (least < DATA_PEER_PICTURES_MIN)
        FAIL(ERR_CONFIG,
             "data.partition dirichlet(%g): in %d draws some peer of %zu always had fewer than %d "
             "pictures: use a larger alpha or fewer peers",
             spec->alpha, DIRICHLET_ATTEMPTS, peers, DATA_PEER_PICTURES_MIN);
    for (size_t c = 0; c < class_count; c++)
        for (size_t p = 0; p < peers; p++)
            for (size_t i = p ? ends[c * peers + p - 1] : 0; i < ends[c * peers + p]; i++)
                index_add(&split->train[p], rest->indices[starts[c] + i]);
out:
    free(starts);
    free(ends);
    free(totals);
    free(gammas);
    return err;
}

/* McMahan et al. 2017, section 3: sorted by label, cut into peers * k shards whose sizes differ by
 * at most one, dealt in a drawn order. */
static err_t deal_shards(data_split_t *split, data_index_t *rest, const data_split_spec_t *spec,
                         const int32_t *labels, size_t class_count)
{
    err_t err = ERR_OK;
    size_t *starts = NULL;
    uint32_t *order = NULL;
    if (spec->shards > rest->count / split->peers)
        FAIL(ERR_CONFIG,
             "data.partition shards(%zu): %zu pictures are fewer than %zu peers x %zu shards: use "
             "fewer shards or fewer peers",
             spec->shards, rest->count, split->peers, spec->shards);
    size_t shards = split->peers * spec->shards;
    starts = xcalloc(class_count + 1, sizeof *starts);
    order = xcalloc(shards, sizeof *order);
    group_by_class(rest, starts, labels, class_count);
    for (size_t s = 0; s < shards; s++)
        order[s] = (uint32_t)s;
    rng_t rng;
    rng_init(&rng, spec->seed, RNG_STREAM_PARTITION, 2, 0);
    rng_shuffle_u32(&rng, order, shards);
    for (size_t s = 0; s < shards; s++) {
        size_t from = order[s] * rest->count / shards, to = (order[s] + 1u) * rest->count / shards;
        for (size_t i = from; i < to; i++)
            index_add(&split->train[s / spec->shards], rest->indices[i]);
    }
out:
    free(starts);
    free(order);
    return err;
}

/* Takes a peer's local test set out of its part. */
static void split_local(data_index_t *train, data_index_t *local_test, uint64_t seed, size_t peer,
                        double fraction)
{
    rng_t rng;
    size_t taken = share(train->count, fraction);
    if (fraction > 0.0 && taken == 0)
        taken = 1;
    if (taken + 1 > train->count)
        taken = train->count - 1;
    rng_init(&rng, seed, RNG_STREAM_LOCAL, peer, 0);
    rng_shuffle_u32(&rng, train->indices, train->count);
    index_reserve(local_test, taken);
    for (size_t i = 0; i < taken; i++)
        index_add(local_test, train->indices[--train->count]);
    sort_index(train);
    sort_index(local_test);
}

err_t data_split(data_split_t *split, const data_split_spec_t *spec, const int32_t *labels,
                 size_t count, size_t class_count)
{
    err_t err = ERR_OK;
    data_index_t rest = {0};
    rng_t rng;
    *split = (data_split_t){0};
    TRY(check_spec(spec, count));
    split_test(&split->test, &rest, spec, labels, count, class_count);
    if (rest.count / DATA_PEER_PICTURES_MIN < spec->peers)
        FAIL(ERR_CONFIG,
             "%zu pictures without the test set are too few for %zu peers, each needs at least %d: "
             "use fewer peers, more pictures or a smaller data.test_fraction",
             rest.count, spec->peers, DATA_PEER_PICTURES_MIN);
    split->peers = spec->peers;
    split->train = xcalloc(spec->peers, sizeof *split->train);
    split->local_test = xcalloc(spec->peers, sizeof *split->local_test);
    for (size_t p = 0; p < spec->peers; p++)
        index_reserve(&split->train[p], rest.count);
    rng_init(&rng, spec->seed, RNG_STREAM_PARTITION, 0, 0);
    rng_shuffle_u32(&rng, rest.indices, rest.count);
    if (spec->kind == DATA_PARTITION_IID)
        deal_iid(split, &rest);
    else if (spec->kind == DATA_PARTITION_DIRICHLET)
        TRY(deal_dirichlet(split, &rest, spec, labels, class_count));
    else
        TRY(deal_shards(split, &rest, spec, labels, class_count));
    for (size_t p = 0; p < spec->peers; p++) {
        /* iid and shards keep it because 2 peers <= rest, dirichlet because it draws until so. */
        CHECK(split->train[p].count >= DATA_PEER_PICTURES_MIN);
        split_local(&split->train[p], &split->local_test[p], spec->seed, p,
                    spec->local_test_fraction);
    }
out:
    data_index_free(&rest);
    if (err)
        data_split_free(split);
    return err;
}

err_t data_split_own(data_index_t *train, data_index_t *local_test, uint64_t seed, size_t peer,
                     double local_test_fraction, size_t count)
{
    err_t err = ERR_OK;
    *train = *local_test = (data_index_t){0};
    TRY(check_fraction("data.local_test_fraction", local_test_fraction));
    if (count < DATA_PEER_PICTURES_MIN || count > UINT32_MAX)
        FAIL(ERR_CONFIG, "a peer with %zu picture%s of its own cannot train, it needs at least %d",
             count, count == 1 ? "" : "s", DATA_PEER_PICTURES_MIN);
    index_reserve(train, count);
    for (size_t i = 0; i < count; i++)
        index_add(train, (uint32_t)i);
    split_local(train, local_test, seed, peer, local_test_fraction);
out:
    return err;
}
