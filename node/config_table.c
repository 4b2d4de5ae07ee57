/* node/config_table.c: every key of a configuration: its type, range, default and help. */
#include "node/config_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "nn/threads.h"

#define AT(field)      offsetof(config_draft_t, field)
#define AT_PEER(field) offsetof(node_peer_t, field)
#define WHOLE_MAX      9007199254740991.0 /* 2^53 - 1: JSON readers keep it exactly */

const config_key_t config_keys[] = {
    {"federation", CONFIG_NAME, AT(config.federation), 1, 63, false, NULL, "hearsay",
     "name of the federation and of its run folder; peers of another federation are refused"},
    {"seed", CONFIG_U64, AT(config.seed), 0, WHOLE_MAX, false, NULL, "1",
     "every random number follows from it: first model, split, order of the pictures"},
    {"rounds", CONFIG_U32, AT(config.rounds), 1, 1e6, false, NULL, "10",
     "rounds of training, each followed by an exchange with the neighbours"},
    {"time_limit_s", CONFIG_REAL, AT(config.time_limit_s), 0, 1e9, false, NULL, "0",
     "training ends for all with the last round of a peer that ends within so many seconds of its "
     "start, loading and waiting counted; 0: no limit"},
    {"cost_per_mb", CONFIG_REAL, AT(config.cost_per_mb), 0, 1e6, false, NULL, "5.0",
     "price of sending a million bytes, in $, for the comparison of precisions"},
    {"security", CONFIG_CHOICE, AT(security), 0, 0, false, "plain", NULL,
     "plain: models travel unencrypted and anybody who reaches the ports can take part; must be "
     "written out when a peer is not on this machine"},

    {"peers.count", CONFIG_U64, AT(peers_count), 1, GOSSIP_PEERS_MAX, false, NULL, "5",
     "that many peers on one machine, named p1, p2 and so on (1 trains alone); or peers: a list of "
     "the keys below"},
    {"peers.host", CONFIG_HOST, AT(peers_host), 1, 255, false, NULL, "127.0.0.1",
     "address of all of them"},
    {"peers.base_port", CONFIG_U16, AT(peers_base_port), 1, 65533, false, NULL, "5600",
     "p1 takes this port and the two after it, p2 the next three, and so on"},
    {"peers[].name", CONFIG_NAME, AT_PEER(name), 1, GOSSIP_NAME_MAX - 1, false, NULL, NULL,
     "name of the peer and of its folder in the run folder"},
    {"peers[].host", CONFIG_HOST, AT_PEER(address.host), 1, 255, false, NULL, "127.0.0.1",
     "where the others reach it"},
    {"peers[].port", CONFIG_U16, AT_PEER(address.port), 1, 65533, false, NULL, NULL,
     "this port and the two after it"},
    {"peers[].bind_host", CONFIG_HOST, AT_PEER(address.bind_host), 1, 255, false, NULL, NULL,
     "where it listens when that is not host: 0.0.0.0 behind a router, say"},
    {"peers[].bind_port", CONFIG_U16, AT_PEER(address.bind_port), 1, 65533, false, NULL, NULL,
     "where it listens when that is not port"},
    {"peers[].data", CONFIG_SPEC, AT_PEER(data), 0, 0, false, NULL, NULL,
     "its own pictures, then nothing is partitioned; all peers or none"},
    {"peers[].attack", CONFIG_ATTACK, AT_PEER(attack), 0, 0, false, NULL, "none",
     "for studies: it lies in every exchange: NaN; its model times F (1000); times -1; what it "
     "learned from labels turned round; normal noise of S times its weights' size (1); a little is "
     "enough, off by Z standard deviations of the others (1.5); its first model again and again; "
     "or it is honest and K times slower (10)"},

    {"model.name", CONFIG_NAME, AT(config.model.name), 1, 31, false, NULL, "cnn",
     "architecture of the network"},
    {"model.input", CONFIG_SIZE, AT(config.model.input), 8, 1024, false, NULL, "64",
     "height and width that pictures are resized to, in pixels"},
    {"model.width", CONFIG_REAL, AT(config.model.width), 0, 4, true, NULL, "1.0",
     "multiplies the number of channels"},
    {"model.strides", CONFIG_WORD, AT(config.model.strides), 0, 15, false, "imagenet|small", NULL,
     "where a mobilenet_v2 shrinks the picture; nothing for cnn"},
    {"model.dropout", CONFIG_REAL, AT(config.model.dropout), 0, 0.95, false, NULL, "0.2",
     "part of the features that a training step leaves out ahead of mobilenet_v2's classifier; "
     "nothing for cnn"},
    {"model.init", CONFIG_FILE, AT(config.init), 0, 0, false, NULL, NULL,
     "what all peers start from, instead of a model drawn from the seed; its head is replaced when "
     "its classes are others"},
    {"model.freeze", CONFIG_CHOICE, AT(config.freeze), 0, 0, false, "none|features", "none",
     "features: only the last layer is trained; the others stay as in model.init, BatchNorm's "
     "statistics too, and run as in inference"},
    {"model.classes", CONFIG_CLASSES, 0, 2, NN_CLASSES_MAX, false, NULL, "[]",
     "names of the classes in their order; []: those of the data"},

    {"data.source", CONFIG_CHOICE, AT(source), 0, 0, false, "synthetic|cifar10|folder", "synthetic",
     "synthetic: drawn by the seed; cifar10: its binary batches; folder: class folders of "
     "JPEG or PNG"},
    {"data.root", CONFIG_PATH, AT(config.data.root), 0, 0, false, NULL, NULL,
     "folder of a cifar10 or folder source"},
    {"data.samples", CONFIG_U64, AT(config.data.samples), 20, 1e7, false, NULL, "2500",
     "pictures that a synthetic source draws, test set included"},
    {"data.partition", CONFIG_PARTITION, 0, 0, 0, false, NULL, "iid",
     "how pictures are dealt to the peers: iid: evenly; dirichlet(A): classes unevenly, the more "
     "so the smaller A; shards(K): K runs of label-sorted pictures each"},
    {"data.test_fraction", CONFIG_REAL, AT(config.data.test_fraction), 0, 0.9, false, NULL, "0.1",
     "part set aside for the test that all share; not for data that comes with a test set"},
    {"data.local_test_fraction", CONFIG_REAL, AT(config.data.local_test_fraction), 0, 0.9, false,
     NULL, "0.2", "part of a peer's pictures that it tests itself on"},
    {"data.test", CONFIG_SPEC, AT(config.data.test), 0, 0, false, NULL, NULL,
     "a common test set of its own"},
    {"data.on_bad_image", CONFIG_CHOICE, AT(config.data.on_bad_image), 0, 0, false, "stop|skip",
     "stop", "a broken picture ends the peer ahead of training, or is left out and counted"},
    {"data.mean", CONFIG_TRIPLE, AT(config.data.normalisation.mean), 0, 1, false, NULL,
     "[0.5, 0.5, 0.5]", "red, green and blue: a pixel/255 becomes (pixel/255 - mean) / std"},
    {"data.std", CONFIG_TRIPLE, AT(config.data.normalisation.std), 0, 10, true, NULL,
     "[0.5, 0.5, 0.5]", "see data.mean"},

    {"train.optimizer", CONFIG_CHOICE, AT(config.train.optimizer.kind), 0, 0, false, "sgd|adam",
     "adam", "as torch.optim's"},
    {"train.lr", CONFIG_FLOAT, AT(config.train.optimizer.lr), 0, 100, true, NULL, "0.001",
     "learning rate"},
    {"train.momentum", CONFIG_FLOAT, AT(config.train.optimizer.momentum), 0, 0.9999, false, NULL,
     "0", "of sgd"},
    {"train.nesterov", CONFIG_BOOL, AT(config.train.optimizer.nesterov), 0, 0, false, NULL, "false",
     "Nesterov's momentum, of sgd"},
    {"train.weight_decay", CONFIG_FLOAT, AT(config.train.optimizer.weight_decay), 0, 10, false,
     NULL, "0", "L2, added to the gradient"},
    {"train.beta1", CONFIG_FLOAT, AT(config.train.optimizer.beta1), 0, 0.9999, false, NULL, "0.9",
     "of adam"},
    {"train.beta2", CONFIG_FLOAT, AT(config.train.optimizer.beta2), 0, 0.999999, false, NULL,
     "0.999", "of adam"},
    {"train.epsilon", CONFIG_FLOAT, AT(config.train.optimizer.epsilon), 0, 1, true, NULL, "1e-8",
     "of adam"},
    {"train.label_smoothing", CONFIG_FLOAT, AT(config.train.optimizer.label_smoothing), 0, 0.99,
     false, NULL, "0", "part of the target that is spread over all classes, in training's loss"},
    {"train.schedule", CONFIG_CHOICE, AT(config.train.schedule.kind), 0, 0, false,
     "constant|step|cosine", "constant",
     "what becomes of lr over the run (rounds x local_epochs / epoch_rounds): nothing; times gamma "
     "at milestones or every so many epochs; down to lr_min along a cosine"},
    {"train.warmup_epochs", CONFIG_REAL, AT(config.train.schedule.warmup_epochs), 0, 1e6, false,
     NULL, "0", "epochs in which the learning rate rises from nothing, step by step"},
    {"train.milestones", CONFIG_EPOCHS, 0, 1, 1e9, false, NULL, "[]",
     "of step: epochs of the run behind which the learning rate is multiplied by gamma"},
    {"train.every_epochs", CONFIG_U32, AT(config.train.schedule.every_epochs), 0, 1e9, false, NULL,
     "0", "of step: or each time so many epochs are over; 0: only at the milestones"},
    {"train.gamma", CONFIG_REAL, AT(config.train.schedule.gamma), 0, 1, true, NULL, "0.1",
     "of step: what the learning rate is multiplied by"},
    {"train.lr_min", CONFIG_REAL, AT(config.train.schedule.lr_min), 0, 100, false, NULL, "0",
     "of cosine: the learning rate at the end of the run"},
    {"train.batch", CONFIG_SIZE, AT(config.train.batch), 2, 16384, false, NULL, "32",
     "pictures a step"},
    {"train.local_epochs", CONFIG_SIZE, AT(config.train.local_epochs), 1, 10000, false, NULL, "1",
     "passes over its own pictures a round"},
    {"train.epoch_rounds", CONFIG_SIZE, AT(config.train.epoch_rounds), 1, 10000, false, NULL, "1",
     "or the other way round, with local_epochs: 1: rounds that a pass is spread over, an exchange "
     "after each part of it"},
    {"train.quantization_aware_rounds", CONFIG_U32, AT(config.train.quantization_aware_rounds), 0,
     1e6, false, NULL, "0",
     "the last rounds of the run, which train with weights and activations rounded as int8 will "
     "have them, BatchNorm's statistics frozen: for models that lose by int8"},
    {"train.optimizer_state", CONFIG_CHOICE, AT(optimizer_state), 0, 0, false, "keep|reset",
     "reset", "what becomes of momentum and moments when a round begins"},
    {"train.threads", CONFIG_INT, AT(config.train.threads), 1, NN_THREADS_MAX, false, NULL, "1",
     "threads of each peer"},
    {"train.flip", CONFIG_BOOL, AT(config.train.augment.flip), 0, 0, false, NULL, "false",
     "mirror every other picture, drawn anew each epoch"},
    {"train.crop_pad", CONFIG_SIZE, AT(config.train.augment.crop_pad), 0, 512, false, NULL, "0",
     "shift pictures by up to that many pixels both ways"},

    {"evaluate.test_every", CONFIG_U32, AT(config.evaluate.test_every), 0, 1e6, false, NULL, "1",
     "rounds between tests on the common test set; 0: only the consensus is tested"},
    {"evaluate.peer", CONFIG_CHOICE, AT(config.evaluate.peer), 0, 0, false, "first|all|none",
     "first", "who tests"},

    {"gossip.topology", CONFIG_TOPOLOGY, 0, 0, 0, false,
     "full|ring|line|star|torus|regular|erdos-renyi|exponential|one-peer-exponential|epidemic",
     "full",
     "who listens to whom; the centre of a star is the first peer; regular and erdos-renyi are "
     "drawn from the seed; exponential joins peers 1, 2, 4, ... places apart; one-peer-exponential "
     "and epidemic have another graph every round, on which all models heard weigh alike"},
    {"gossip.degree", CONFIG_SIZE, AT(config.gossip.degree), 1, GOSSIP_PEERS_MAX, false, NULL, "4",
     "of regular: neighbours of each peer; of epidemic: whom each peer sends to"},
    {"gossip.edge_probability", CONFIG_REAL, AT(config.gossip.edge_probability), 0, 1, true, NULL,
     "0.5", "of erdos-renyi: probability that two peers are joined"},
    {"gossip.redraw", CONFIG_CHOICE, AT(config.gossip.redraw), 0, 0, false, "never|round", "never",
     "of regular and erdos-renyi: one graph for all rounds, or another one every round"},
    {"gossip.epidemic", CONFIG_CHOICE, AT(config.gossip.epidemic), 0, 0, false, "oracle|local",
     "oracle",
     "of epidemic: a random graph of all peers, or each peer draws by itself whom it sends to"},
    {"gossip.algorithm", CONFIG_CHOICE, AT(config.gossip.algorithm), 0, 0, false,
     "auto|dpsgd|qg-dsgdm|push-sum|choco|async", "auto",
     "how models of training rounds are mixed: dpsgd averages with the neighbours; qg-dsgdm does, "
     "with a momentum that follows the mixed model, for sgd; push-sum sends cumulative sums in "
     "float64, twice the bytes, and loses nothing when messages get lost; choco sends differences "
     "to what the neighbours know, whatever the codec; async has no rounds in "
     "common: a peer mixes what it has, by age, and waits for nobody; auto: qg-dsgdm for sgd "
     "with momentum where data.partition is not iid, else dpsgd, also where peers have data of "
     "their own"},
    {"gossip.robust", CONFIG_CHOICE, AT(config.gossip.robust), 0, 0, false,
     "none|clipped|trimmed|median|krum", "none",
     "mixing that bears hostile neighbours: differences cut to a length (ClippedGossip); the mean "
     "without the lowest and highest values, or the median, of each weight; the one model nearest "
     "to the others"},
    {"gossip.hostile", CONFIG_U32, AT(config.gossip.hostile), 0, GOSSIP_PEERS_MAX, false, NULL, "0",
     "how many of a peer's neighbours may be hostile, for gossip.robust"},
    {"gossip.clip", CONFIG_CLIP, 0, 0, 1e30, true, "adaptive", "adaptive",
     "of clipped: the longest difference that counts in full (L2, all weights), or as long as the "
     "nearest neighbours' suggest"},
    {"gossip.staleness", CONFIG_U32, AT(config.gossip.staleness), 0, 1e6, false, NULL, "16",
     "of async: a model that is more rounds of training than this behind one's own is left out"},
    {"gossip.weights", CONFIG_CHOICE, AT(config.gossip.weighting), 0, 0, false, "samples|equal",
     "samples", "a peer counts by its number of pictures, or as much as any other"},
    {"gossip.codec", CONFIG_CHOICE, AT(config.gossip.codec), 0, 0, false,
     "fp32|fp16|bf16|int8|topk|randomk", "fp32",
     "how models travel while peers train; behind training it is fp32. topk and randomk send a "
     "part of the differences to what the neighbours know: the largest ones, or random ones"},
    {"gossip.keep", CONFIG_REAL, AT(config.gossip.keep), 0, 1, true, NULL, "0.1",
     "of topk and randomk: part of the weights that travels"},
    {"gossip.gamma", CONFIG_REAL, AT(config.gossip.gamma), 0, 1, false, NULL, "0",
     "of choco, topk and randomk: how far a round moves towards the neighbours; 0: as the codec "
     "bears it, 1, for topk 2 x gossip.keep (4 x where nobody has more than two neighbours), for "
     "randomk gossip.keep / 2"},
    {"gossip.deadline", CONFIG_DEADLINE, 0, 0, 1e6, true, "none|adaptive", "adaptive",
     "how long a round waits for neighbours: for ever, median + k MAD of what they usually need, "
     "or a fixed time"},
    {"gossip.deadline_floor_s", CONFIG_REAL, AT(config.gossip.deadline_floor_s), 0, 1e6, false,
     NULL, "5", "least that adaptive waits"},
    {"gossip.deadline_ceiling_s", CONFIG_REAL, AT(config.gossip.deadline_ceiling_s), 0, 1e6, true,
     NULL, "60", "most that adaptive waits, and what it waits in the first three rounds"},
    {"gossip.deadline_k", CONFIG_REAL, AT(config.gossip.deadline_k), 0, 1000, false, NULL, "8",
     "k of adaptive"},
    {"gossip.suspect_s", CONFIG_REAL, AT(config.gossip.suspect_s), 1e-3, 1e6, false, NULL, "4",
     "silence after which a peer is suspected"},
    {"gossip.dead_s", CONFIG_REAL, AT(config.gossip.dead_s), 1e-3, 1e6, false, NULL, "24",
     "silence after which a peer is taken for dead and leaves the graph; shorter notices a crash "
     "sooner and drops a peer on a stalled machine sooner"},
    {"gossip.start_wait_s", CONFIG_REAL, AT(config.gossip.start_wait_s), 0, 1e6, false, NULL, "120",
     "how long a peer that was never heard of is waited for; 0: for ever"},
    {"gossip.announce_s", CONFIG_REAL, AT(config.gossip.announce_s), 1e-3, 3600, false, NULL, "1",
     "how often a peer says that it is there"},
    {"gossip.stop.distance", CONFIG_REAL, AT(config.gossip.stop.distance), 0, 100, false, NULL, "0",
     "training ends early, after the same round everywhere, when the certificate says that no peer "
     "is farther than that from the mean of all, relative to the model; 0: not asked for"},
    {"gossip.stop.accuracy", CONFIG_REAL, AT(config.gossip.stop.accuracy), 0, 1, false, NULL, "0",
     "or when every peer is at least that accurate on its own test part; with both, when both "
     "hold; "
     "0: not asked for"},
    {"gossip.stop.patience", CONFIG_U32, AT(config.gossip.stop.patience), 1, 1e6, false, NULL, "3",
     "for so many rounds in a row"},

    {"consensus.distance", CONFIG_REAL, AT(config.consensus.distance), 0, 1, true, NULL, "1e-4",
     "peers mix on after training until they are this near to each other, relative to the model"},
    {"consensus.rounds_max", CONFIG_U32, AT(config.consensus.rounds_max), 0, 1e6, false, NULL,
     "200", "or until they have mixed that often"},

    {"quantize.precisions", CONFIG_PRECISIONS, 0, 0, 0, false, "fp32|fp16|int8", "[fp16, int8]",
     "what `hearsay up` makes of the consensus; []: nothing"},
    {"quantize.calibrate", CONFIG_CHOICE, AT(config.quantize.calibrate), 0, 0, false, "peers|local",
     "peers",
     "who calibrates int8: the peers together, each on its own training pictures, behind the "
     "consensus, or `hearsay up` by itself"},
    {"quantize.samples", CONFIG_SIZE, AT(config.quantize.samples), 2, 524288, false, NULL, "128",
     "training pictures that int8 is calibrated on, of each peer"},
    {"quantize.clipping", CONFIG_CHOICE, AT(config.quantize.clipping), 0, 0, false,
     "minmax|mse|percentile|kl", "mse",
     "how the range of a tensor's values is cut for int8: not at all; where the squared error is "
     "least; at 99.99 % of them; where the least information is lost"},
    {"quantize.bias_correction", CONFIG_BOOL, AT(config.quantize.bias_correction), 0, 0, false,
     NULL, "true", "take the mean error of int8's rounded weights off the biases"},

    {"simulate.ms_per_sample", CONFIG_REAL, AT(config.simulate.ms_per_sample), 0, 1e6, false, NULL,
     "5", "of `hearsay simulate`: virtual milliseconds that training takes a picture"},
    {"simulate.delay_ms", CONFIG_REAL, AT(config.simulate.delay_ms), 0, 1e6, false, NULL, "1",
     "how long a frame is on its way"},
    {"simulate.jitter_ms", CONFIG_REAL, AT(config.simulate.jitter_ms), 0, 1e6, false, NULL, "0",
     "added to each frame's delay, uniform between 0 and this"},
    {"simulate.loss", CONFIG_REAL, AT(config.simulate.loss), 0, 0.99, false, NULL, "0",
     "part of what is published that gets lost; repair, which has connections, loses nothing"},
    {"simulate.bandwidth", CONFIG_REAL, AT(config.simulate.bandwidth), 0, 1e15, false, NULL, "0",
     "bytes a second that each link carries each way; 0: unlimited"},
    {"simulate.events", CONFIG_EVENTS, 0, 0, 0, false, NULL, "[]",
     "what happens, at virtual times: peers crash, rejoin from their checkpoints, are stopped for "
     "a "
     "while, or are cut off from the others"},
};

size_t config_key_count(void)
{
    _Static_assert(sizeof config_keys / sizeof config_keys[0] <= CONFIG_KEYS_MAX, "raise it");
    return sizeof config_keys / sizeof config_keys[0];
}

const config_key_t *config_find(const char *name)
{
    for (size_t i = 0; i < config_key_count(); i++)
        if (!strcmp(config_keys[i].name, name))
            return &config_keys[i];
    return NULL;
}

bool config_is_section(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < config_key_count(); i++)
        if (!strncmp(config_keys[i].name, name, length) && config_keys[i].name[length] == '.')
            return true;
    return false;
}

/* Length of what stands ahead of the last word, its dot included. */
static size_t section_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) + 1 : 0;
}

/* "train.batchsize": the nearest word among the keys of that section, or one it begins with. */
static const char *nearest_in_section(const char *name)
{
    const char *words[CONFIG_KEYS_MAX], *keys[CONFIG_KEYS_MAX];
    size_t count = 0, section = section_length(name);
    const char *word = name + section;
    for (size_t i = 0; i < config_key_count(); i++)
        if (section_length(config_keys[i].name) == section &&
            !strncmp(config_keys[i].name, name, section)) {
            words[count] = config_keys[i].name + section;
            keys[count++] = config_keys[i].name;
        }
    const char *best = text_nearest(word, words, count);
    for (size_t i = 0; i < count; i++)
        if (best ? words[i] == best : !strncmp(word, words[i], strlen(words[i])))
            return keys[i];
    return NULL;
}

/* A key of another section with the same last word: "lr", "train.topology". */
static const char *same_word_elsewhere(const char *name)
{
    const char *word = name + section_length(name);
    for (size_t i = 0; i < config_key_count(); i++) {
        const char *key = config_keys[i].name;
        if (!strcmp(key + section_length(key), word) && strncmp(key, "peers[].", 8) != 0)
            return key;
    }
    return NULL;
}

/* "gosip": the nearest section. */
static const char *nearest_section(char out[64], const char *name)
{
    char sections[CONFIG_KEYS_MAX][32];
    const char *names[CONFIG_KEYS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < config_key_count(); i++) {
        size_t length = section_length(config_keys[i].name);
        if (!length || config_keys[i].name[length - 2] == ']')
            continue;
        snprintf(sections[count], sizeof sections[count], "%.*s", (int)length - 1,
                 config_keys[i].name);
        names[count] = sections[count];
        count++;
    }
    const char *best = text_nearest(name, names, count);
    return best ? memcpy(out, best, strlen(best) + 1) : NULL;
}

const char *config_nearest(char out[64], const char *name)
{
    const char *best = nearest_in_section(name);
    if (!best && strncmp(name, "peers[].", 8) != 0)
        best = same_word_elsewhere(name);
    if (!best && !strchr(name, '.'))
        best = nearest_section(out, name);
    if (!best || !strcmp(best, name)) /* peers[].port is known, but not as a key of the top */
        return NULL;
    if (best != out)
        snprintf(out, 64, "%s", best);
    return out;
}

int config_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    int index = 0;
    for (const char *at = choices; at; index++) {
        const char *bar = strchrnul(at, '|');
        if ((size_t)(bar - at) == length && !strncmp(at, text, length))
            return index;
        at = *bar ? bar + 1 : NULL;
    }
    return -1;
}

void config_choice_name(char out[32], const char *choices, unsigned index)
{
    const char *at = choices;
    for (; index; index--)
        at = strchr(at, '|') + 1;
    snprintf(out, 32, "%.*s", (int)(strchrnul(at, '|') - at), at);
}

/* "full, ring, line, star" */
static void list_choices(char out[128], const char *choices)
{
    size_t n = 0;
    for (const char *at = choices; *at && n + 3 < 128; at++) {
        out[n++] = *at == '|' ? ',' : *at;
        if (*at == '|')
            out[n++] = ' ';
    }
    out[n] = '\0';
}

void config_accepts(char out[256], const config_key_t *key)
{
    char choices[128] = "";
    if (key->choices)
        list_choices(choices, key->choices);
    switch (key->type) {
    case CONFIG_NAME:
        snprintf(out, 256, "1 to %.0f of A-Z a-z 0-9 _ . -, the first one a letter or a digit",
                 key->max);
        break;
    case CONFIG_HOST:
        snprintf(out, 256, "an IP address or a host name");
        break;
    case CONFIG_PATH:
        snprintf(out, 256, "a folder");
        break;
    case CONFIG_FILE:
        snprintf(out, 256, "a model file (safetensors) or a PyTorch checkpoint (.pth)");
        break;
    case CONFIG_SPEC:
        snprintf(out, 256, "folder:DIR, cifar10:DIR[:train|test] or synthetic:SEED[:COUNT]");
        break;
    case CONFIG_U64:
    case CONFIG_U32:
    case CONFIG_U16:
    case CONFIG_SIZE:
    case CONFIG_INT:
        snprintf(out, 256, "a whole number from %.0f to %.0f", key->min, key->max);
        break;
    case CONFIG_REAL:
    case CONFIG_FLOAT:
        snprintf(out, 256,
                 key->above ? "a number above %.9g, up to %.9g" : "a number from %.9g to %.9g",
                 key->min, key->max);
        break;
    case CONFIG_BOOL:
        snprintf(out, 256, "true or false");
        break;
    case CONFIG_CHOICE:
        snprintf(out, 256, strchr(key->choices, '|') ? "one of %s" : "only %s", choices);
        break;
    case CONFIG_WORD:
        snprintf(out, 256, "one of %s, or null", choices);
        break;
    case CONFIG_TRIPLE:
        snprintf(out, 256, "a list of three numbers %s %.9g %s %.9g", key->above ? "above" : "from",
                 key->min, key->above ? "up to" : "to", key->max);
        break;
    case CONFIG_EPOCHS:
        snprintf(out, 256, "a list of at most %d rising whole numbers from %.0f to %.0f, or []",
                 NN_MILESTONES_MAX, key->min, key->max);
        break;
    case CONFIG_CLASSES:
        snprintf(out, 256, "a list of %.0f to %.0f different names, or []", key->min, key->max);
        break;
    case CONFIG_TOPOLOGY:
        snprintf(out, 256, "one of %s, or a list of pairs of peers: [[p1, p2], [p2, p3]]", choices);
        break;
    case CONFIG_DEADLINE:
        snprintf(out, 256, "one of %s, or a number of seconds above 0", choices);
        break;
    case CONFIG_ATTACK:
        snprintf(
            out, 256,
            "none, nan, scaled or scaled(F), sign_flip, label_flip, noise or noise(S), alie or "
            "alie(Z), stale, slow or slow(K)");
        break;
    case CONFIG_CLIP:
        snprintf(out, 256, "%s, or a distance above 0", choices);
        break;
    case CONFIG_PARTITION:
        snprintf(out, 256, "iid, dirichlet(A) with A above 0, or shards(K) with K from 1 to 10000");
        break;
    case CONFIG_EVENTS:
        snprintf(out, 256,
                 "a list of {at_s: 3, crash: p2}, {at_s: 9, rejoin: p2}, {at_s: 4, pause: "
                 "p3, until_s: 8} and {at_s: 4, partition: [p1, p2], until_s: 8}");
        break;
    case CONFIG_PRECISIONS:
        snprintf(out, 256, "a list of fp16 and int8, or []");
        break;
    }
}

void node_config_describe(FILE *out)
{
    fprintf(out, "| key | accepts | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < config_key_count(); i++) {
        const config_key_t *key = &config_keys[i];
        char accepts[256];
        config_accepts(accepts, key);
        fprintf(out, "| `%s` | ", key->name);
        for (const char *at = accepts; *at; at++) /* a bar would end the cell */
            fprintf(out, *at == '|' ? "\\|" : "%c", *at);
        fprintf(out, " | %s%s%s | %s |\n", key->fallback ? "`" : "",
                key->fallback ? key->fallback : "none", key->fallback ? "`" : "", key->help);
    }
}
