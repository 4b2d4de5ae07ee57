/* The configuration: defaults, --set, text that loads back, and every refusal with its message. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "node/config.h"
#include "tests/node/config_loading.h"
#include "tests/support/harness.h"

static void takes_defaults_for_what_is_not_written(void **state)
{
    (void)state;
    node_config_t c;
    assert_ok(load(&c, "seed: 7\n", NULL, 0));
    assert_string_equal(c.federation, "hearsay");
    assert_int_equal(c.seed, 7);
    assert_int_equal(c.peer_count, 5);
    assert_string_equal(c.peers[4].name, "p5");
    assert_string_equal(c.peers[4].address.host, "127.0.0.1");
    assert_int_equal(c.peers[4].address.port, 5612);
    assert_string_equal(c.data.source, "synthetic");
    assert_null(c.data.root);
    assert_false(c.security_plain);
    assert_int_equal(c.train.optimizer.kind, NN_ADAM);
    assert_true(c.train.optimizer.lr == 0.001f);
    assert_true(c.train.optimizer_reset);
    assert_int_equal(c.gossip.deadline, GOSSIP_DEADLINE_ADAPTIVE);
    assert_true(c.gossip.deadline_floor_s == 5.0 && c.gossip.deadline_ceiling_s == 60.0);
    assert_true(c.gossip.suspect_s == 4.0 && c.gossip.dead_s == 24.0);
    assert_true(c.gossip.start_wait_s == 120.0 && c.gossip.announce_s == 1.0);
    assert_int_equal(c.quantize.precision_count, 2);
    assert_int_equal(c.quantize.precisions[1], QUANT_INT8);
    assert_true(c.data.normalisation.mean[2] == 0.5f && c.data.normalisation.std[0] == 0.5f);
    assert_int_equal(c.model.classes, 0);
    char *spec = node_config_source_spec(&c);
    assert_string_equal(spec, "synthetic:7:2500");
    free(spec);
    assert_false(node_config_own_data(&c));
    node_config_free(&c);
}

static const char everything[] =
    "federation: a.b-c_9\nseed: 9007199254740991\nrounds: 3\ntime_limit_s: 12.5\ncost_per_mb: 0.1\n"
    "security: plain\n"
    "peers:\n"
    "  - {name: ana, host: 10.0.0.1, port: 5600, data: 'folder:my pics/a'}\n"
    "  - {name: ben, host: '::1', port: 7000, bind_host: 0.0.0.0, bind_port: 7100, data: "
    "'cifar10:/c:train'}\n"
    "  - {name: cleo, port: 65533, data: 'synthetic:4:50'}\n"
    "model: {name: cnn, input: 96, width: 0.5, classes: [b, 'a \"q\"', \"c\\\\\"]}\n"
    "data: {samples: 77, partition: dirichlet(0.35), test_fraction: 0.3, local_test_fraction: 0, "
    "test: folder:t, on_bad_image: skip, mean: [0.1, 0.2, 0.3], std: [1, 0.25, 2e-1]}\n"
    "train: {optimizer: sgd, lr: 0.0123456, momentum: 0.9, weight_decay: 1e-4, beta1: 0.8, beta2: "
    "0.99, epsilon: 1e-7, batch: 7, local_epochs: 3, epoch_rounds: 1, optimizer_state: keep, "
    "threads: 2, flip: "
    "true, "
    "crop_pad: 4}\n"
    "evaluate: {test_every: 0, peer: none}\n"
    "gossip: {topology: [[ana, ben], [1, cleo]], weights: equal, deadline: 2.5, suspect_s: 1.5, "
    "dead_s: 3.25, start_wait_s: 0, announce_s: 0.2, deadline_k: 3, stop: {distance: "
    "0.0125, patience: 7}}\n"
    "consensus: {distance: 0.015625, rounds_max: 9}\nquantize: {precisions: [int8]}\n";

static void reads_every_key(void **state)
{
    (void)state;
    node_config_t c;
    assert_ok(load(&c, everything, NULL, 0));
    assert_int_equal(c.seed, 9007199254740991);
    assert_true(c.security_plain);
    assert_int_equal(c.peer_count, 3);
    assert_string_equal(c.peers[0].data, "folder:my pics/a");
    assert_string_equal(c.peers[1].address.bind_host, "0.0.0.0");
    assert_int_equal(c.peers[1].address.bind_port, 7100);
    assert_string_equal(c.peers[2].address.host, "127.0.0.1");
    assert_true(node_config_own_data(&c));
    assert_int_equal(c.class_count, 3);
    assert_int_equal(c.model.classes, 3);
    assert_string_equal(c.classes[1], "a \"q\"");
    assert_int_equal(c.data.partition, DATA_PARTITION_DIRICHLET);
    assert_true(c.data.alpha == 0.35);
    assert_int_equal(c.data.on_bad_image, DATA_BAD_SKIP);
    assert_true(c.data.normalisation.std[2] == 0.2f);
    assert_int_equal(c.train.optimizer.kind, NN_SGD);
    assert_true(c.train.optimizer.momentum == 0.9f && c.train.optimizer.beta2 == 0.99f);
    assert_false(c.train.optimizer_reset);
    assert_true(c.train.augment.flip);
    assert_int_equal(c.train.augment.crop_pad, 4);
    assert_int_equal(c.evaluate.peer, NODE_EVALUATE_NONE);
    assert_int_equal(c.gossip.topology, GOSSIP_EDGES);
    assert_int_equal(c.gossip.edge_count, 2);
    assert_int_equal(c.gossip.edges[1].a, 1);
    assert_int_equal(c.gossip.edges[1].b, 2);
    assert_int_equal(c.gossip.weighting, GOSSIP_WEIGHTS_EQUAL);
    assert_int_equal(c.gossip.deadline, GOSSIP_DEADLINE_FIXED);
    assert_true(c.gossip.deadline_ceiling_s == 2.5);
    assert_true(c.gossip.stop.distance == 0.0125 && c.gossip.stop.accuracy == 0);
    assert_int_equal(c.gossip.stop.patience, 7);
    assert_int_equal(c.quantize.precision_count, 1);
    node_config_free(&c);
}

/* Text of a configuration, of the one that it loads as, and so on, is the same. */
static void loads_back(const char *text, const char *const *sets, size_t count)
{
    node_config_t first, second;
    assert_ok(load(&first, text, sets, count));
    char *once = node_config_text(&first);
    assert_ok(load(&second, once, NULL, 0));
    char *twice = node_config_text(&second);
    assert_string_equal(once, twice);
    assert_int_equal(first.peer_count, second.peer_count);
    for (size_t i = 0; i < first.peer_count; i++)
        assert_memory_equal(&first.peers[i].address, &second.peers[i].address,
                            sizeof first.peers[i].address);
    assert_memory_equal(&first.train, &second.train, sizeof first.train);
    assert_memory_equal(&first.model, &second.model, sizeof first.model);
    assert_memory_equal(&first.consensus, &second.consensus, sizeof first.consensus);
    assert_true(first.data.alpha == second.data.alpha);
    assert_int_equal(first.data.shards, second.data.shards);
    assert_int_equal(first.security_plain, second.security_plain);
    free(once);
    free(twice);
    node_config_free(&first);
    node_config_free(&second);
}

static void text_loads_back_to_the_same(void **state)
{
    (void)state;
    const char *shards[] = {"data.partition=shards(3)", "gossip.deadline=none",
                            "train.lr=3.14159274e-05",  "consensus.distance=0.1",
                            "data.normalisation",       "quantize.precisions=[]"};
    shards[4] = "data.mean=[0.485, 0.456, 0.406]";
    loads_back("seed: 1", NULL, 0);
    loads_back("seed: 1", shards, 6);
    loads_back(everything, NULL, 0);
}

static void text_has_absolute_paths(void **state)
{
    (void)state;
    node_config_t c;
    char cwd[PATH_MAX], want[PATH_MAX + 32];
    assert_ok(load(&c, "data: {source: folder, root: ./pics, test: 'cifar10:c:test'}\n", NULL, 0));
    assert_string_equal(c.data.root, "./pics");
    char *text = node_config_text(&c);
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(want, sizeof want, "root: \"%s/pics\"\n", cwd);
    assert_non_null(strstr(text, want));
    snprintf(want, sizeof want, "test: \"cifar10:%s/c:test\"\n", cwd);
    assert_non_null(strstr(text, want));
    free(text);
    node_config_free(&c);
}

static void home_folder_is_expanded(void **state)
{
    (void)state;
    node_config_t c;
    setenv("HOME", "/home/ana", 1);
    assert_ok(load(&c, "data: {source: folder, root: ~/pics, test: folder:~/t}\n", NULL, 0));
    assert_string_equal(c.data.root, "/home/ana/pics");
    assert_string_equal(c.data.test, "folder:/home/ana/t");
    char *spec = node_config_source_spec(&c);
    assert_string_equal(spec, "folder:/home/ana/pics");
    free(spec);
    node_config_free(&c);
}

static void sets_override_in_order(void **state)
{
    (void)state;
    node_config_t c;
    const char *sets[] = {"peers.count=3",
                          "peers.base_port=7000",
                          "train.lr=0.5",
                          "gossip.topology=[[p1, p2], [p2,p3]]",
                          "train={lr: 0.25, batch: 8}",
                          "data.root=x",
                          "data.source=folder"};
    assert_ok(load(&c, "train: {lr: 1}\nrounds: 4\n", sets, 7));
    assert_int_equal(c.rounds, 4);
    assert_int_equal(c.peer_count, 3);
    assert_int_equal(c.peers[2].address.port, 7006);
    assert_true(c.train.optimizer.lr == 0.25f);
    assert_int_equal(c.train.batch, 8);
    assert_int_equal(c.gossip.edge_count, 2);
    assert_string_equal(c.data.root, "x");
    node_config_free(&c);
}

static void a_list_of_peers_replaces_the_mapping_and_back(void **state)
{
    (void)state;
    node_config_t c;
    const char *list = "peers=[{name: a, port: 1000}, {name: b, port: 1003}]";
    const char *back = "peers={count: 4}";
    assert_ok(load(&c, "peers: {count: 3}\n", &list, 1));
    assert_int_equal(c.peer_count, 2);
    assert_string_equal(c.peers[1].name, "b");
    node_config_free(&c);
    assert_ok(load(&c, "peers: [{name: a, port: 1000}, {name: b, port: 1003}]\n", &back, 1));
    assert_int_equal(c.peer_count, 4);
    assert_string_equal(c.peers[1].name, "p2");
    node_config_free(&c);
    const char *one = "peers.count=4";
    assert_fails(load(&c, "peers: [{name: a, port: 1000}, {name: b, port: 1003}]\n", &one, 1),
                 ERR_CONFIG,
                 "--set peers.count: the peers are a list in this configuration; set peers itself");
}

static void anchors_are_resolved_and_cycles_refused(void **state)
{
    (void)state;
    node_config_t c;
    assert_ok(load(&c, "data: {mean: &m [0.5, 0.5, 0.25], std: *m}\n", NULL, 0));
    assert_true(c.data.normalisation.std[2] == 0.25f);
    node_config_free(&c);
    refuses("gossip: {topology: &t [*t, *t]}\n",
            "c.yaml:1:20: gossip.topology: a list is not accepted here; accepted: one of full, "
            "ring, line, star, torus, regular, erdos-renyi, exponential, one-peer-exponential, "
            "epidemic, or a list of pairs of peers: [[p1, p2], [p2, p3]]");
    refuses("train: &t\n  train: *t\n",
            "c.yaml:2:3: train.train: no such key; `hearsay help config` lists those there are");
}

static void deep_and_large_texts_are_refused(void **state)
{
    (void)state;
    size_t size = (1 << 20) + 10;
    char *text = xcalloc(size + 1, 1);
    node_config_t c;
    memset(text, '[', 1 << 20);
    assert_fails(load(&c, text, NULL, 0), ERR_CONFIG,
                 "c.yaml:1:17: lists and mappings more than 16 deep");
    memset(text, '#', size);
    assert_fails(load(&c, text, NULL, 0), ERR_CONFIG,
                 "c.yaml: 1048586 bytes; a configuration has at most 1048576");
    free(text);
}

static void names_unknown_keys_with_the_nearest(void **state)
{
    (void)state;
    refuses("sed: 1\n", "c.yaml:1:1: sed: no such key; did you mean seed?");
    refuses("train:\n  batchsize: 3\n",
            "c.yaml:2:3: train.batchsize: no such key; did you mean train.batch?");
    refuses("lr: 0.1\n", "c.yaml:1:1: lr: no such key; did you mean train.lr?");
    refuses("gosip: {}\n", "c.yaml:1:1: gosip: no such key; did you mean gossip?");
    refuses("zzzzzzzz: 1\n",
            "c.yaml:1:1: zzzzzzzz: no such key; `hearsay help config` lists those there are");
    refuses("peers: [{name: a, prot: 1}]\n",
            "c.yaml:1:19: peers[].prot: no such key; did you mean peers[].port?");
    refuses("peers[].port: 1\n",
            "c.yaml:1:1: peers[].port: no such key; `hearsay help config` lists those there are");
    refuses_set("train.lrr=1", "--set train.lrr: no such key; did you mean train.lr?");
}

static void says_where_and_what_is_accepted(void **state)
{
    (void)state;
    refuses("rounds: many\n",
            "c.yaml:1:9: rounds: \"many\" is not accepted here; accepted: a whole "
            "number from 1 to 1000000");
    refuses("rounds: 0\n", "c.yaml:1:9: rounds: \"0\" is not accepted here; accepted: a whole "
                           "number from 1 to 1000000");
    refuses("rounds: 1.5\n", "c.yaml:1:9: rounds: \"1.5\" is not accepted here; accepted: a whole "
                             "number from 1 to 1000000");
    refuses("train: {lr: 0}\n", "c.yaml:1:13: train.lr: \"0\" is not accepted here; accepted: a "
                                "number above 0, up to 100");
    refuses("train: {lr: nan}\n",
            "c.yaml:1:13: train.lr: \"nan\" is not accepted here; accepted: a "
            "number above 0, up to 100");
    refuses("train: {lr: 1e-60}\n", "c.yaml:1:13: train.lr: \"1e-60\" is not accepted here; "
                                    "accepted: a number above 0, up to 100");
    refuses("train: {flip: 1}\n",
            "c.yaml:1:15: train.flip: \"1\" is not accepted here; accepted: true or false");
    refuses("train: {optimizer: lion}\n", "c.yaml:1:20: train.optimizer: \"lion\" is not accepted "
                                          "here; accepted: one of sgd, adam");
    refuses("gossip: {algorithm: adpsgd}\n", "c.yaml:1:21: gossip.algorithm: \"adpsgd\" is not "
                                             "accepted here; accepted: one of auto, dpsgd, "
                                             "qg-dsgdm, push-sum, choco, async");
    refuses("gossip: {codec: int4}\n", "c.yaml:1:17: gossip.codec: \"int4\" is not accepted here; "
                                       "accepted: one of fp32, fp16, bf16, int8, topk, randomk");
    refuses("gossip: {robust: bulyan}\n",
            "c.yaml:1:18: gossip.robust: \"bulyan\" is not accepted here; accepted: one of none, "
            "clipped, trimmed, median, krum");
    refuses("train: [1]\n", "c.yaml:1:8: train: a section of keys is needed here");
    refuses("seed: {a: 1}\n", "c.yaml:1:7: seed: a mapping is not accepted here; accepted: a whole "
                              "number from 0 to 9007199254740991");
    refuses("data: {partition: dirichlet(0)}\n",
            "c.yaml:1:19: data.partition: \"dirichlet(0)\" is not accepted here; accepted: iid, "
            "dirichlet(A) with A above 0, or shards(K) with K from 1 to 10000");
    refuses("data: {test: pictures}\n",
            "c.yaml:1:14: data.test: \"pictures\" is not accepted here; accepted: folder:DIR, "
            "cifar10:DIR[:train|test] or synthetic:SEED[:COUNT]");
    refuses("quantize: {precisions: [fp32]}\n",
            "c.yaml:1:25: quantize.precisions: \"fp32\" is not accepted here; accepted: a list of "
            "fp16 and int8, or []");
    refuses("quantize: {precisions: [int8, int8]}\n",
            "c.yaml:1:31: quantize.precisions: int8 is there twice; every precision once");
    refuses("model: {classes: [a, b, a]}\n",
            "c.yaml:1:18: model.classes: a is there twice; every class once");
    refuses("federation: a/b\n", "c.yaml:1:13: federation: \"a/b\" is not accepted here; accepted: "
                                 "1 to 63 of A-Z a-z 0-9 _ . -, the first one a letter or a digit");
    refuses_set("train.lr=fast",
                "--set train.lr: \"fast\" is not accepted here; accepted: a number "
                "above 0, up to 100");
    refuses_set("train.lr=", "--set train.lr: the value is missing; write --set train.lr=VALUE");
    refuses_set("train.lr", "--set train.lr: write --set KEY=VALUE, such as --set train.lr=0.01");
}

static void refuses_what_is_not_one_mapping(void **state)
{
    (void)state;
    refuses("", "c.yaml: nothing is configured here; see configs/five-peers.yaml");
    refuses("- a\n", "c.yaml:1:1: a configuration is a mapping of keys to values");
    refuses("seed: 1\n---\nseed: 2\n", "c.yaml:3:1: a second document; a configuration is one");
    refuses("seed: 1\nseed: 2\n", "c.yaml:2:1: seed: written twice, before in line 1; keep one");
    refuses("train: {lr: 1, batch: 4, lr: 2}\n",
            "c.yaml:1:26: train.lr: written twice, before in line 1; keep one");
    refuses("? [a]\n: 1\n", "c.yaml:1:3: configuration: a list or mapping cannot be a key");
    refuses("seed: [1\n", "c.yaml:2:1: not YAML: did not find expected ',' or ']' while parsing a "
                          "flow sequence");
    node_config_t c;
    assert_fails(node_config_load(&c, "nowhere.yaml", NULL, 0), ERR_CONFIG,
                 "nowhere.yaml: No such file or directory; give the path of a configuration, such "
                 "as configs/five-peers.yaml");
    assert_fails(node_config_load(&c, "/", NULL, 0), ERR_CONFIG,
                 "/: not a file; give the path of a configuration, such as "
                 "configs/five-peers.yaml");
}

static void refuses_peers_that_cannot_work(void **state)
{
    (void)state;
    refuses("peers: {count: 0}\n", "c.yaml:1:16: peers.count: \"0\" is not accepted here; "
                                   "accepted: a whole number from 1 to 16384");
    refuses("peers: []\n",
            "c.yaml: peers: the list is empty; give it peers, or one to train alone");
    refuses("peers: [{port: 1}, {port: 4}]\n",
            "c.yaml:1:9: peers: entry 1 has no name; give it a name");
    refuses("peers: [{name: a}]\n", "c.yaml:1:9: peers: a has no port; give it a port");
    refuses("peers: [a]\n", "c.yaml:1:9: peers: entry 1 is not a mapping; accepted: {name: ana, "
                            "host: 10.0.0.1, port: 5600}");
    refuses("peers: 5\n", "c.yaml:1:8: peers: a section of keys is needed here; accepted: {count, "
                          "host, base_port} or a list of {name, host, port}");
    refuses("peers: [{name: a, port: 1000}, {name: a, port: 1003}]\n",
            "c.yaml:1:32: peers: a is the name of two peers; give each its own");
    refuses("peers: [{name: a, port: 1000}, {name: b, port: 1002, host: localhost}]\n",
            "c.yaml:1:32: peers: port 1002 of b overlaps with port 1000 of a on 127.0.0.1; a peer "
            "takes 3 ports in a row");
    refuses("peers: [{name: a, port: 1000, data: 'folder:a'}, {name: b, port: 1003}]\n",
            "c.yaml:1:50: peers: a names data of its own and b does not; all peers do, or none");
    refuses("peers: [{name: quantized, port: 1000}, {name: b, port: 1003}]\n",
            "c.yaml:1:9: peers: a peer cannot be called quantized: the run folder has a file of "
            "that name");
    refuses("peers: {count: 20, base_port: 65500}\n",
            "c.yaml:1:31: peers.base_port: 20 peers with 3 ports each end at port 65559; the "
            "highest is 65535, so at most 65476 is possible here");
    refuses("peers: [{name: a, port: 1, host: 'x y'}]\n",
            "c.yaml:1:34: peers[].host: \"x y\" is not accepted here; accepted: an IP address or a "
            "host name");
    refuses("peers: [{name: a, port: 1, host: 0.0.0.0}, {name: b, port: 1, host: h}]\n",
            "c.yaml:1:9: peers: a cannot be reached at 0.0.0.0; give the address that others see "
            "as host, and 0.0.0.0 as bind_host");
}

static void outside_addresses_need_security_written_out(void **state)
{
    (void)state;
    node_config_t c;
    refuses("peers: {host: 10.1.2.3}\n",
            "c.yaml: security: peer p1 is at 10.1.2.3, outside this machine, and models travel "
            "unencrypted; write `security: plain` if the network may be trusted");
    refuses("peers: [{name: a, port: 1000, bind_host: 0.0.0.0}, {name: b, port: 1003}]\n",
            "c.yaml: security: peer a is at 0.0.0.0, outside this machine, and models travel "
            "unencrypted; write `security: plain` if the network may be trusted");
    refuses("security: curve\n",
            "c.yaml:1:11: security: \"curve\" is not accepted here; accepted: only plain");
    assert_ok(load(&c, "security: plain\npeers: {host: 10.1.2.3}\n", NULL, 0));
    node_config_free(&c);
    assert_ok(load(&c, "peers: {host: 127.200.0.1}\n", NULL, 0));
    node_config_free(&c);
    assert_ok(load(&c, "peers: {host: localhost}\n", NULL, 0));
    node_config_free(&c);
    assert_ok(load(&c, "peers: {host: '::1'}\n", NULL, 0));
    node_config_free(&c);
    assert_int_equal(load(&c, "peers: {host: 127.example.org}\n", NULL, 0), ERR_CONFIG);
    assert_int_equal(load(&c, "peers: {host: 127.0.0.1.example.org}\n", NULL, 0), ERR_CONFIG);
}

static void refuses_what_does_not_go_together(void **state)
{
    (void)state;
    refuses("data: {source: folder}\n",
            "c.yaml: data.root: data.source: folder needs the folder where the pictures are; set "
            "data.root, such as --set data.root=DIR");
    refuses("data: {root: x}\n",
            "c.yaml:1:14: data.root: synthetic pictures come from no folder; set data.source to "
            "folder or cifar10, or remove data.root");
    refuses("gossip: {topology: [[p1, p9]]}\n",
            "c.yaml:1:21: gossip.topology: no peer is called \"p9\"; the 5 peers are p1 to p5");
    refuses("gossip: {topology: [[p1, p2], [p2, p3], [p3, p4], [p5, p5]]}\n",
            "c.yaml:1:51: gossip.topology: p5 is paired with itself; a pair is of two peers");
    refuses("gossip: {topology: [[p1, p2], [p2, p3], [p2, p1]]}\n",
            "c.yaml:1:41: gossip.topology: p1 and p2 are paired twice; keep one");
    refuses("gossip: {topology: [[p5, p4], [p2, p3], [p1, p2]]}\n",
            "c.yaml:1:20: gossip.topology: no path leads from p1 to p4; add a pair that joins "
            "them");
    refuses("gossip: {dead_s: 3}\n", "c.yaml:1:18: gossip.dead_s: 3 is not above gossip.suspect_s, "
                                     "4; a peer is suspected before it is taken for dead");
    refuses("gossip: {announce_s: 5}\n",
            "c.yaml: gossip.suspect_s: 4 is not above gossip.announce_s, 5; peers would suspect "
            "each other between two announcements");
    refuses("gossip: {deadline_floor_s: 61}\n",
            "c.yaml:1:28: gossip.deadline_floor_s: 61 is above gossip.deadline_ceiling_s, 60; the "
            "floor is the lower one");
}

static void refuses_what_ends_training_early_and_needs_its_end(void **state)
{
    (void)state;
    refuses("gossip: {stop: {patience: 2}}\n",
            "c.yaml:1:27: gossip.stop.patience: 2 rounds of what? set gossip.stop.distance or "
            "gossip.stop.accuracy");
    refuses(
        "gossip: {stop: {patience: 0}}\n",
        "c.yaml:1:27: gossip.stop.patience: \"0\" is not accepted here; accepted: a whole number "
        "from 1 to 1000000");
    refuses("data: {local_test_fraction: 0}\ngossip: {stop: {accuracy: 0.9}}\n",
            "c.yaml:2:27: gossip.stop.accuracy: no peer has pictures to test itself on: set "
            "data.local_test_fraction");
    refuses("train: {quantization_aware_rounds: 2}\ngossip: {stop: {distance: 0.01}}\n",
            "c.yaml:2:27: gossip.stop.distance: a run that ends early never comes to the last 2 "
            "rounds of 10, which are train.quantization_aware_rounds: leave one of the two out");
}

static void finds_peers_by_name(void **state)
{
    (void)state;
    node_config_t c;
    size_t index = 99;
    assert_ok(load(&c, "peers: {count: 12}\n", NULL, 0));
    assert_ok(node_config_find_peer(&index, &c, "p12"));
    assert_int_equal(index, 11);
    assert_fails(node_config_find_peer(&index, &c, "p13"), ERR_CONFIG,
                 "c.yaml has no peer \"p13\"; its peers are p1, p2, p3, p4, p5, p6, p7, p8, ...");
    node_config_free(&c);
}

static void shipped_configurations_load(void **state)
{
    (void)state;
    static const char *const names[] = {"eurosat-cnn", "cifar10-mobilenetv2", /* name no folder */
                                        "five-peers",  "ring",
                                        "own-data",    "thousand"};
    const char *root = "data.root=/pictures";
    for (size_t i = 0; i < 6; i++) {
        char path[PATH_MAX];
        node_config_t c;
        snprintf(path, sizeof path, "%s/../configs/%s.yaml", TESTS_DIR, names[i]);
        assert_ok(node_config_load(&c, path, &root, i < 2));
        node_config_free(&c);
    }
}

static void describes_every_key(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0, lines = 0;
    FILE *out = open_memstream(&text, &size);
    node_config_describe(out);
    fclose(out);
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    assert_true(lines > 50);
    assert_non_null(strstr(text, "| `train.lr` | a number above 0, up to 100 | `0.001` | learning "
                                 "rate |\n"));
    assert_non_null(strstr(text, "cifar10:DIR[:train\\|test]"));
    free(text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(takes_defaults_for_what_is_not_written),
    cmocka_unit_test(reads_every_key),
    cmocka_unit_test(text_loads_back_to_the_same),
    cmocka_unit_test(text_has_absolute_paths),
    cmocka_unit_test(home_folder_is_expanded),
    cmocka_unit_test(sets_override_in_order),
    cmocka_unit_test(a_list_of_peers_replaces_the_mapping_and_back),
    cmocka_unit_test(anchors_are_resolved_and_cycles_refused),
    cmocka_unit_test(deep_and_large_texts_are_refused),
    cmocka_unit_test(names_unknown_keys_with_the_nearest),
    cmocka_unit_test(says_where_and_what_is_accepted),
    cmocka_unit_test(refuses_what_is_not_one_mapping),
    cmocka_unit_test(refuses_peers_that_cannot_work),
    cmocka_unit_test(outside_addresses_need_security_written_out),
    cmocka_unit_test(refuses_what_does_not_go_together),
    cmocka_unit_test(refuses_what_ends_training_early_and_needs_its_end),
    cmocka_unit_test(finds_peers_by_name),
    cmocka_unit_test(shipped_configurations_load),
    cmocka_unit_test(describes_every_key),
};

int main(int argc, char **argv)
{
    return TEST_MAIN(argc, argv, tests);
}
