/* Who gets which picture: exactly once each, the same every time, with the stated rounding. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/partition.h"
#include "tests/support/harness.h"

enum { COUNT = 1003, CLASSES = 7 };

/* Classes of unequal size, the last one absent. */
static const int32_t *make_labels(void)
{
    static int32_t labels[COUNT];
    rng_t rng = test_rng(1);
    for (int i = 0; i < COUNT; i++)
        labels[i] = (int32_t)rng_below(&rng, 1 + rng_below(&rng, CLASSES - 1));
    return labels;
}

static data_split_spec_t make_spec(data_partition_kind_t kind, size_t peers)
{
    return (data_split_spec_t){.seed = test_seed,
                               .peers = peers,
                               .kind = kind,
                               .alpha = 0.5,
                               .shards = 2,
                               .test_fraction = 0.1,
                               .local_test_fraction = 0.2};
}

static void mark(int *seen, const data_index_t *index)
{
    for (size_t i = 0; i < index->count; i++) {
        assert_true(index->indices[i] < COUNT);
        seen[index->indices[i]]++;
        if (i > 0)
            assert_true(index->indices[i - 1] < index->indices[i]);
    }
}

static void assert_same_index(const data_index_t *a, const data_index_t *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->indices, b->indices, a->count * sizeof *a->indices);
}

static void every_picture_is_in_exactly_one_place(void **state)
{
    (void)state;
    for (int kind = DATA_PARTITION_IID; kind <= DATA_PARTITION_SHARDS; kind++)
        for (size_t peers = 1; peers <= 20; peers += 3) {
            int seen[COUNT] = {0};
            data_split_t split;
            data_split_spec_t spec = make_spec((data_partition_kind_t)kind, peers);
            assert_ok(data_split(&split, &spec, make_labels(), COUNT, CLASSES));
            assert_int_equal(split.peers, peers);
            mark(seen, &split.test);
            for (size_t p = 0; p < peers; p++) {
                assert_true(split.train[p].count >= 1);
                assert_true(split.local_test[p].count >= 1);
                mark(seen, &split.train[p]);
                mark(seen, &split.local_test[p]);
            }
            for (int i = 0; i < COUNT; i++)
                assert_int_equal(seen[i], 1);
            data_split_free(&split);
        }
}

static void a_split_follows_from_its_seed(void **state)
{
    (void)state;
    for (int kind = DATA_PARTITION_IID; kind <= DATA_PARTITION_SHARDS; kind++) {
        data_split_t a, b, other;
        data_split_spec_t spec = make_spec((data_partition_kind_t)kind, 5);
        assert_ok(data_split(&a, &spec, make_labels(), COUNT, CLASSES));
        assert_ok(data_split(&b, &spec, make_labels(), COUNT, CLASSES));
        spec.seed++;
        assert_ok(data_split(&other, &spec, make_labels(), COUNT, CLASSES));
        assert_same_index(&a.test, &b.test);
        assert_int_equal(a.test.count, other.test.count);
        assert_memory_not_equal(a.test.indices, other.test.indices, a.test.count * 4);
        for (size_t p = 0; p < 5; p++) {
            assert_same_index(&a.train[p], &b.train[p]);
            assert_same_index(&a.local_test[p], &b.local_test[p]);
        }
        data_split_free(&a);
        data_split_free(&b);
        data_split_free(&other);
    }
}

static void the_test_set_depends_on_neither_peers_nor_partition(void **state)
{
    (void)state;
    data_split_t first;
    data_split_spec_t spec = make_spec(DATA_PARTITION_IID, 1);
    assert_ok(data_split(&first, &spec, make_labels(), COUNT, CLASSES));
    for (int kind = DATA_PARTITION_IID; kind <= DATA_PARTITION_SHARDS; kind++)
        for (size_t peers = 2; peers <= 12; peers += 5) {
            data_split_t split;
            spec = make_spec((data_partition_kind_t)kind, peers);
            spec.local_test_fraction = 0.5;
            assert_ok(data_split(&split, &spec, make_labels(), COUNT, CLASSES));
            assert_same_index(&split.test, &first.test);
            data_split_free(&split);
        }
    data_split_free(&first);
}

static void the_test_set_is_a_rounded_share_of_each_class(void **state)
{
    (void)state;
    static const double fractions[] = {0.0, 0.1, 0.25, 0.5, 0.9};
    const int32_t *labels = make_labels();
    size_t sizes[CLASSES] = {0};
    for (int i = 0; i < COUNT; i++)
        sizes[labels[i]]++;
    for (size_t f = 0; f < 5; f++) {
        data_split_t split;
        size_t in_test[CLASSES] = {0};
        data_split_spec_t spec = make_spec(DATA_PARTITION_IID, 3);
        spec.test_fraction = fractions[f];
        assert_ok(data_split(&split, &spec, labels, COUNT, CLASSES));
        for (size_t i = 0; i < split.test.count; i++)
            in_test[labels[split.test.indices[i]]]++;
        for (size_t c = 0; c < CLASSES; c++)
            assert_int_equal(in_test[c], (size_t)floor((double)sizes[c] * fractions[f] + 0.5));
        data_split_free(&split);
    }
}

static void iid_parts_differ_by_at_most_one_picture(void **state)
{
    (void)state;
    for (size_t peers = 1; peers <= 50; peers += 7) {
        data_split_t split;
        data_split_spec_t spec = make_spec(DATA_PARTITION_IID, peers);
        assert_ok(data_split(&split, &spec, make_labels(), COUNT, CLASSES));
        size_t rest = COUNT - split.test.count;
        for (size_t p = 0; p < peers; p++) {
            size_t own = split.train[p].count + split.local_test[p].count;
            assert_int_equal(own, rest / peers + (p < rest % peers));
            assert_int_equal(split.local_test[p].count, (size_t)floor((double)own * 0.2 + 0.5));
        }
        data_split_free(&split);
    }
}

/* Mean over peers of the largest class's share of a peer's pictures. */
static double unevenness(double alpha)
{
    const int32_t *labels = make_labels();
    data_split_t split;
    data_split_spec_t spec = make_spec(DATA_PARTITION_DIRICHLET, 6);
    double sum = 0.0;
    spec.alpha = alpha;
    spec.local_test_fraction = 0.0;
    assert_ok(data_split(&split, &spec, labels, COUNT, CLASSES));
    for (size_t p = 0; p < 6; p++) {
        size_t counts[CLASSES] = {0}, most = 0;
        for (size_t i = 0; i < split.train[p].count; i++)
            counts[labels[split.train[p].indices[i]]]++;
        for (size_t c = 0; c < CLASSES; c++)
            most = counts[c] > most ? counts[c] : most;
        assert_true(split.train[p].count >= DATA_PEER_PICTURES_MIN);
        sum += (double)most / (double)split.train[p].count / 6.0;
    }
    data_split_free(&split);
    return sum;
}

static void a_smaller_alpha_is_more_uneven(void **state)
{
    (void)state;
    double even = unevenness(1000.0), middle = unevenness(1.0), uneven = unevenness(0.05);
    assert_true(even < middle && middle < uneven);
    assert_true(uneven > 0.7);
}

static void a_dirichlet_that_cannot_feed_every_peer_is_refused(void **state)
{
    (void)state;
    data_split_t split;
    data_split_spec_t spec = make_spec(DATA_PARTITION_DIRICHLET, 20);
    spec.alpha = 1e-5; /* all gammas underflow: a class goes to one peer, and there are 6 classes */
    assert_fails(data_split(&split, &spec, make_labels(), COUNT, CLASSES), ERR_CONFIG,
                 "data.partition dirichlet(1e-05): in 200 draws some peer of 20 always had fewer "
                 "than 2 pictures: use a larger alpha or fewer peers");
    assert_null(split.train);
}

static void a_peer_with_k_shards_sees_few_classes(void **state)
{
    (void)state;
    static int32_t labels[1000];
    for (int i = 0; i < 1000; i++)
        labels[i] = i % 10;
    data_split_t split;
    data_split_spec_t spec = make_spec(DATA_PARTITION_SHARDS, 10);
    spec.test_fraction = spec.local_test_fraction = 0.0;
    assert_ok(data_split(&split, &spec, labels, 1000, 10));
    assert_int_equal(split.test.count, 0);
    for (size_t p = 0; p < 10; p++) {
        bool seen[10] = {false};
        int classes = 0;
        assert_int_equal(split.train[p].count, 100);
        assert_int_equal(split.local_test[p].count, 0);
        for (size_t i = 0; i < 100; i++)
            seen[labels[split.train[p].indices[i]]] = true;
        for (int c = 0; c < 10; c++)
            classes += seen[c];
        assert_in_range(classes, 1, 2); /* 20 shards of 50, none across two classes */
    }
    data_split_free(&split);
}

static void shards_are_dealt_in_a_drawn_order(void **state)
{
    (void)state;
    static int32_t labels[100];
    size_t first_class = 0;
    for (int i = 0; i < 100; i++)
        labels[i] = i / 50;
    for (uint64_t seed = 0; seed < 40; seed++) {
        data_split_t split;
        data_split_spec_t spec = {
            .seed = seed, .peers = 2, .kind = DATA_PARTITION_SHARDS, .shards = 1};
        assert_ok(data_split(&split, &spec, labels, 100, 2));
        first_class += labels[split.train[0].indices[0]] == 0;
        data_split_free(&split);
    }
    assert_in_range(first_class, 6, 34); /* of 40: peer 0 has class 0 about half of the time */
}

static void dirichlet_draws_until_each_peer_has_two(void **state)
{
    (void)state;
    static int32_t labels[24];
    for (int i = 0; i < 24; i++)
        labels[i] = i % 2;
    for (uint64_t seed = 0; seed < 100; seed++) {
        data_split_t split;
        data_split_spec_t spec = {
            .seed = seed, .peers = 4, .kind = DATA_PARTITION_DIRICHLET, .alpha = 0.7};
        assert_ok(data_split(&split, &spec, labels, 24, 2));
        for (size_t p = 0; p < 4; p++)
            assert_true(split.train[p].count >= DATA_PEER_PICTURES_MIN);
        data_split_free(&split);
    }
}

static void a_spec_out_of_range_is_refused(void **state)
{
    (void)state;
    static const struct {
        data_split_spec_t spec;
        const char *message;
    } cases[] = {
        {{.peers = 0}, "a data set cannot be split among 0 peers: set peers.count"},
        {{.peers = 2, .test_fraction = 0.95}, "data.test_fraction: 0.95 is not between 0 and 0.9"},
        {{.peers = 2, .test_fraction = -0.1}, "data.test_fraction: -0.1 is not between 0 and 0.9"},
        {{.peers = 2, .local_test_fraction = 1.0},
         "data.local_test_fraction: 1 is not between 0 and 0.9"},
        {{.peers = 2, .kind = DATA_PARTITION_DIRICHLET, .alpha = 0.0},
         "data.partition dirichlet(0): alpha must be above 0"},
        {{.peers = 2, .kind = DATA_PARTITION_SHARDS, .shards = 0},
         "data.partition shards(0): a peer needs at least 1 shard"},
        {{.peers = 6},
         "10 pictures are too few for 6 peers, each needs at least 2: use fewer peers or more "
         "pictures"},
        {{.peers = 3, .test_fraction = 0.5},
         "5 pictures without the test set are too few for 3 peers, each needs at least 2: use "
         "fewer peers, more pictures or a smaller data.test_fraction"},
        {{.peers = 2, .kind = DATA_PARTITION_SHARDS, .shards = 6},
         "data.partition shards(6): 10 pictures are fewer than 2 peers x 6 shards: use fewer "
         "shards or fewer peers"},
    };
    static const int32_t labels[10] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        data_split_t split;
        assert_fails(data_split(&split, &cases[i].spec, labels, 10, 1), ERR_CONFIG,
                     cases[i].message);
    }
}

static void even_the_smallest_data_set_gives_each_peer_two(void **state)
{
    (void)state;
    static const int32_t labels[9] = {0, 0, 0, 1, 1, 1, 1, 1, 1};
    for (int kind = DATA_PARTITION_IID; kind <= DATA_PARTITION_SHARDS; kind++)
        for (size_t count = 6; count <= 9; count++) {
            data_split_t split;
            data_split_spec_t spec = make_spec((data_partition_kind_t)kind, 3);
            spec.test_fraction = 0.0;
            spec.alpha = 5.0;
            assert_ok(data_split(&split, &spec, labels, count, 2));
            for (size_t p = 0; p < 3; p++) {
                assert_true(split.train[p].count >= 1);
                assert_int_equal(split.local_test[p].count, 1);
            }
            data_split_free(&split);
        }
}

static void a_peers_own_pictures_are_split_in_two(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        double fraction;
        size_t test;
    } cases[] = {{10, 0.2, 2}, {2, 0.2, 1}, {3, 0.9, 2}, {2, 0.9, 1}, {100, 0.0, 0}, {33, 0.5, 17}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        data_index_t train, test;
        int seen[COUNT] = {0};
        size_t count = cases[i].count;
        assert_ok(data_split_own(&train, &test, test_seed, 4, cases[i].fraction, count));
        assert_int_equal(test.count, cases[i].test);
        assert_int_equal(train.count, count - test.count);
        mark(seen, &train);
        mark(seen, &test);
        for (size_t k = 0; k < count; k++)
            assert_int_equal(seen[k], 1);
        data_index_free(&train);
        data_index_free(&test);
    }
}

static void own_splits_of_two_peers_differ(void **state)
{
    (void)state;
    data_index_t train[3], test[3];
    for (size_t i = 0; i < 3; i++)
        assert_ok(data_split_own(&train[i], &test[i], test_seed, i / 2, 0.3, 200));
    assert_same_index(&test[0], &test[1]);
    assert_memory_not_equal(test[0].indices, test[2].indices, test[0].count * 4);
    for (size_t i = 0; i < 3; i++) {
        data_index_free(&train[i]);
        data_index_free(&test[i]);
    }
}

static void a_peer_with_one_picture_is_refused(void **state)
{
    (void)state;
    data_index_t train, test;
    assert_fails(data_split_own(&train, &test, 1, 0, 0.2, 1), ERR_CONFIG,
                 "a peer with 1 picture of its own cannot train, it needs at least 2");
    assert_fails(data_split_own(&train, &test, 1, 0, 0.2, 0), ERR_CONFIG,
                 "a peer with 0 pictures of its own cannot train, it needs at least 2");
    assert_fails(data_split_own(&train, &test, 1, 0, -1.0, 9), ERR_CONFIG,
                 "data.local_test_fraction: -1 is not between 0 and 0.9");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_picture_is_in_exactly_one_place),
    cmocka_unit_test(a_split_follows_from_its_seed),
    cmocka_unit_test(the_test_set_depends_on_neither_peers_nor_partition),
    cmocka_unit_test(the_test_set_is_a_rounded_share_of_each_class),
    cmocka_unit_test(iid_parts_differ_by_at_most_one_picture),
    cmocka_unit_test(a_smaller_alpha_is_more_uneven),
    cmocka_unit_test(a_dirichlet_that_cannot_feed_every_peer_is_refused),
    cmocka_unit_test(a_peer_with_k_shards_sees_few_classes),
    cmocka_unit_test(shards_are_dealt_in_a_drawn_order),
    cmocka_unit_test(dirichlet_draws_until_each_peer_has_two),
    cmocka_unit_test(a_spec_out_of_range_is_refused),
    cmocka_unit_test(even_the_smallest_data_set_gives_each_peer_two),
    cmocka_unit_test(a_peers_own_pictures_are_split_in_two),
    cmocka_unit_test(own_splits_of_two_peers_differ),
    cmocka_unit_test(a_peer_with_one_picture_is_refused),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
