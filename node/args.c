/* node/args.c: one table of options; each command shows and takes its own part of it, on argp. */
#include "node/args.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "nn/threads.h"
#include "node/config.h"

typedef enum { OPTION_TEXT, OPTION_LIST, OPTION_NUMBER, OPTION_THREADS, OPTION_FLAG } kind_t;

typedef struct {
    const char *key;  /* what node_command_t.options calls it */
    const char *name; /* on the command line */
    const char *argument;
    const char *help;
    kind_t kind;
    size_t offset; /* into node_args_t */
} option_t;

#define AT(field) offsetof(node_args_t, field)
static const option_t options[] = {
    {"set", "set", "KEY=VALUE",
     "Override one key of the configuration; the value is YAML. May be "
     "given again and again; `hearsay help config` lists the keys",
     OPTION_LIST, AT(sets)},
    {"run", "run", "DIR", "The run folder; runs/FEDERATION/DATE_TIME when not given", OPTION_TEXT,
     AT(run)},
    {"resume", "resume", "RUN", "Go on with the run in this folder, with its configuration",
     OPTION_TEXT, AT(resume)},
    {"resume-here", "resume", NULL, "Go on from the checkpoint in the run folder", OPTION_TEXT,
     AT(resume)},
    {"resume-round", "resume-round", "N",
     "Go on with this training round, from the checkpoint of the one before", OPTION_NUMBER,
     AT(resume_round)},
    {"rejoin", "rejoin", NULL, "Take the present state from the neighbours", OPTION_FLAG,
     AT(rejoin)},
    {"name", "name", "NAME", "Which peer of the configuration this is", OPTION_TEXT, AT(name)},
    {"data", "data", "SPEC",
     "Pictures: folder:DIR, cifar10:DIR[:train|test] or "
     "synthetic:SEED[:COUNT]",
     OPTION_TEXT, AT(data)},
    {"out", "out", "DIR", "Where to write", OPTION_TEXT, AT(out)},
    {"onnx", "onnx", "FILE", "Write it there as ONNX", OPTION_TEXT, AT(onnx)},
    {"precisions", "precisions", "LIST", "What to convert to; fp16,int8 when not given",
     OPTION_TEXT, AT(precisions)},
    {"cost-per-mb", "cost-per-mb", "PRICE",
     "Price of sending a million bytes, in $; the run's, or "
     "5.0",
     OPTION_TEXT, AT(cost)},
    {"bytes-run", "bytes-run", "BYTES", "What the run sent, when no summary.json tells",
     OPTION_TEXT, AT(bytes_run)},
    {"calibration", "calibration", "HOW",
     "How ranges of int8 are cut: minmax, mse, percentile or kl; mse when not given", OPTION_TEXT,
     AT(calibration)},
    {"calibration-data", "calibration-data", "SPEC",
     "Pictures to calibrate int8 on; a tenth of --data, left out of the test, when not given",
     OPTION_TEXT, AT(calibrate_on)},
    {"samples", "samples", "N", "Calibrate on at most so many pictures; 512 when not given",
     OPTION_NUMBER, AT(samples)},
    {"apart", "seed", "N", "What the pictures to calibrate on are drawn by; 1 when not given",
     OPTION_NUMBER, AT(seed)},
    {"per-tensor", "per-tensor", NULL,
     "Compare with int8 of one weight scale a layer, instead of one an output channel", OPTION_FLAG,
     AT(per_tensor)},
    {"weight-bits", "weight-bits", "B", "Bits of int8's weights, 2 to 8; 8 when not given",
     OPTION_NUMBER, AT(weight_bits)},
    {"bias-correction", "bias-correction", "on|off",
     "Take the mean error of int8's rounded weights off the biases; on when not given", OPTION_TEXT,
     AT(bias_correction)},
    {"qat-epochs", "qat-epochs", "N",
     "Train N epochs on with weights and activations rounded, from where int8 is, and compare "
     "that too, as int8-qat",
     OPTION_NUMBER, AT(qat_epochs)},
    {"qat-data", "qat-data", "SPEC",
     "Pictures to train on, never those of the test; when not given, all of --calibration-data, "
     "or else the tenth of --data that is left out of the test",
     OPTION_TEXT, AT(qat_data)},
    {"qat-lr", "qat-lr", "RATE",
     "How far a weight may move a step, in parts of the largest of its output channel; falls to 0 "
     "as a cosine; 0.001 when not given",
     OPTION_TEXT, AT(qat_lr)},
    {"time", "seconds", "S",
     "Time each model for so long, at batch 1 and again at 32; 1 when not given, 0: not at all",
     OPTION_TEXT, AT(seconds)},
    {"strides", "strides", "WHERE",
     "Where a mobilenet_v2 shrinks the picture: imagenet, as torchvision's, or small, for 32 "
     "pixels",
     OPTION_TEXT, AT(strides)},
    {"input", "input", "PIXELS",
     "Height and width of its pictures; 224 when not given, 32 with strides small, 64 for a cnn",
     OPTION_NUMBER, AT(input)},
    {"classes", "classes", "LIST", "Names of the classes with commas, or their number", OPTION_TEXT,
     AT(classes)},
    {"mean", "mean", "R,G,B",
     "What it wants subtracted from pixel/255, or imagenet for torchvision's; 0.5,0.5,0.5 when not "
     "given",
     OPTION_TEXT, AT(mean)},
    {"std", "std", "R,G,B", "And what that is divided by", OPTION_TEXT, AT(std)},
    {"seed", "seed", "N", "What a new head is drawn from", OPTION_NUMBER, AT(seed)},
    {"model", "model", "NAME", "cnn or mobilenet_v2, which is it when not given", OPTION_TEXT,
     AT(model)},
    {"width", "width", "NUMBER", "Channel multiplier, 1 when not given", OPTION_TEXT, AT(width)},
    {"side", "input", "PIXELS", "Height and width of the pictures; 32 when not given, 64 for a cnn",
     OPTION_NUMBER, AT(input)},
    {"class-count", "classes", "N", "How many classes, 10 when not given", OPTION_TEXT,
     AT(classes)},
    {"precision", "precision", "NAME",
     "fp32, when not given, or int8: what a network of random weights computes in", OPTION_TEXT,
     AT(precision)},
    {"batch", "batch", "N", "Pictures a step; 32 when not given", OPTION_NUMBER, AT(batch)},
    {"optimizer", "optimizer", "NAME", "sgd (with momentum), when not given, or adam", OPTION_TEXT,
     AT(optimizer)},
    {"seconds", "seconds", "S", "Measure for so long; 5 when not given", OPTION_TEXT, AT(seconds)},
    {"repeats", "repeats", "N", "Measure so many steps instead", OPTION_NUMBER, AT(repeats)},
    {"random", "seed", "N", "What weights and pictures are drawn from; 1 when not given",
     OPTION_NUMBER, AT(seed)},
    {"layers", "layers", NULL,
     "Show the work and the time of each layer beside what the CPU can do", OPTION_FLAG,
     AT(layers)},
    {"codec", "codec", "NAME", "fp32, when not given, fp16, bf16, int8, topk or randomk (a tenth)",
     OPTION_TEXT, AT(codec)},
    {"models", "models", "N", "Mix so many models, one's own among them; 5 when not given",
     OPTION_NUMBER, AT(models)},
    {"sample", "out", "FILE", "Write the pictures and their logits there, as safetensors",
     OPTION_TEXT, AT(out)},
    {"bandwidth", "bandwidth", "MBIT",
     "Mbit a second that a peer can send; 100 when not given", OPTION_TEXT, AT(bandwidth)},
    {"peers", "peers", "N", "How many peers", OPTION_NUMBER, AT(peers)},
    {"trace", "trace", "FILE", "Write all that comes to each peer, and a digest of what it does, there",
     OPTION_TEXT, AT(trace)},
    {"replay", "replay", "FILE",
     "Run nothing: read a trace of this configuration back and do every step again, which must do "
     "the same",
     OPTION_TEXT, AT(replay)},
    {"no-train", "no-train", NULL,
     "Train nothing and read no data: models of random floats, to study the protocol", OPTION_FLAG,
     AT(no_train)},
    {"parameters", "parameters", "P", "Floats of a model of --no-train; 1000 when not given",
     OPTION_NUMBER, AT(parameters)},
    {"trainers", "threads", "N", "Train so many peers at once, which changes no bit; 1 when not "
     "given", OPTION_THREADS, AT(threads)},
    {"threads", "threads", "N",
     "Threads to compute with; as many as there are cores when not "
     "given",
     OPTION_THREADS, AT(threads)},
    {"json", "json", NULL, "Print the result as JSON", OPTION_FLAG, AT(json)},
    {"quiet", "quiet", NULL, "Show no progress", OPTION_FLAG, AT(quiet)},
    {"plain", "plain", NULL, "Plain lines, even on a terminal", OPTION_FLAG, AT(plain)},
};
enum { OPTIONS = sizeof options / sizeof options[0], KEY_BASE = 256 };

typedef struct {
    const node_command_t *command;
    node_args_t args;
} parse_t;

static void take_option(const option_t *option, char *value, struct argp_state *state)
{
    parse_t *parse = state->input;
    node_args_t *args = &parse->args;
    void *at = (char *)args + option->offset;
    uint64_t number;
    switch (option->kind) {
    case OPTION_TEXT:
        if (value && !*value)
            argp_error(state, "--%s: nothing is given", option->name);
        *(char **)at = value ? value : "";
        break;
    case OPTION_LIST:
        args->sets[args->set_count++] = value;
        break;
    case OPTION_FLAG:
        *(bool *)at = true;
        break;
    case OPTION_NUMBER:
        if (!text_to_u64(at, value) || *(uint64_t *)at == 0)
            argp_error(state, "--%s: \"%s\" is not a whole number above 0", option->name, value);
        break;
    case OPTION_THREADS:
        if (!text_to_u64(&number, value) || number < 1 || number > NN_THREADS_MAX)
            argp_error(state, "--%s: \"%s\" is not a whole number from 1 to %d", option->name,
                       value, NN_THREADS_MAX);
        *(int *)at = (int)number;
        break;
    }
}

static error_t parse_one(int key, char *value, struct argp_state *state)
{
    parse_t *parse = state->input;
    node_args_t *args = &parse->args;
    const node_command_t *command = parse->command;
    if (key >= KEY_BASE && key < KEY_BASE + OPTIONS) {
        take_option(&options[key - KEY_BASE], value, state);
    } else if (key == ARGP_KEY_ARG) {
        if (args->positional_count == command->positional_max)
            argp_error(state, "\"%s\" is one argument too many", value);
        args->positional[args->positional_count++] = value;
    } else if (key == ARGP_KEY_END) {
        if (args->positional_count < command->positional_min)
            argp_error(state, "%s is missing", command->arguments);
    } else {
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* True when `key` stands in the comma-separated list. */
static bool listed(const char *list, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = list; at && *at; at = strchr(at, ','), at = at ? at + 1 : NULL)
        if (!strncmp(at, key, length) && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

static int run_command(const node_command_t *command, int argc, char **argv)
{
    struct argp_option shown[OPTIONS + 1] = {0};
    size_t count = 0;
    for (int i = 0; i < OPTIONS; i++)
        if (listed(command->options, options[i].key))
            shown[count++] = (struct argp_option){.name = options[i].name,
                                                  .key = KEY_BASE + i,
                                                  .arg = options[i].argument,
                                                  .doc = options[i].help};
    char *name = xasprintf("hearsay %s", command->name);
    char *doc = xasprintf("%s%s%s", command->help, command->example ? "\vFor example:\n  " : "",
                          command->example ? command->example : "");
    struct argp argp = {shown, parse_one, command->arguments, doc, NULL, NULL, NULL};
    parse_t parse = {.command = command};
    parse.args.positional = xcalloc((size_t)argc, sizeof(char *));
    parse.args.sets = xcalloc((size_t)argc, sizeof(char *));
    char *first = argv[0];
    argv[0] = name;
    argp_err_exit_status = NODE_EXIT_USAGE;
    int status = argp_parse(&argp, argc, argv, 0, NULL, &parse) ? NODE_EXIT_USAGE
                                                                : command->run(&parse.args);
    argv[0] = first;
    free(parse.args.positional);
    free(parse.args.sets);
    free(doc);
    free(name);
    return status;
}

/* Bytes of the help's first sentence, without its stop: the one ahead of a space or the end. */
static int first_sentence(const char *help)
{
    const char *stop = strchr(help, '.');
    while (stop && stop[1] && stop[1] != ' ')
        stop = strchr(stop + 1, '.');
    return (int)(stop ? stop - help : (ptrdiff_t)strlen(help));
}

/* "  NAME ARGUMENTS      What it does", within COLUMNS. */
static void print_command(FILE *out, const node_command_t *command)
{
    enum { INDENT = 25, COLUMNS = 100 };
    char usage[64];
    const int length = first_sentence(command->help);
    snprintf(usage, sizeof usage, "%s %s", command->name, command->arguments);
    int column = fprintf(out, "  %-*s", INDENT - 3, usage);
    for (int at = 0; at < length; at++) {
        const int word = (int)strcspn(command->help + at, " ");
        const int shown = word < length - at ? word : length - at;
        if (column + 1 + shown > COLUMNS)
            column = fprintf(out, "\n%*s", INDENT - 1, "") - 1;
        column += fprintf(out, " %.*s", shown, command->help + at);
        at += shown;
    }
    fputc('\n', out);
}

/* True when the name of the command is `group` and a word more. */
static bool in_group(const node_command_t *command, const char *group)
{
    size_t length = strlen(group);
    return !strncmp(command->name, group, length) && command->name[length] == ' ';
}

/* hearsay data --help: the commands that begin with that word; false when there are none. */
static bool print_group(FILE *out, const node_command_t *commands, const char *group)
{
    bool any = false;
    for (const node_command_t *command = commands; command->name; command++) {
        if (!in_group(command, group))
            continue;
        if (!any)
            fprintf(out, "Usage: hearsay %s COMMAND [OPTION...] [ARGUMENT...]\n\n", group);
        any = true;
        print_command(out, command);
    }
    if (any)
        fprintf(out, "\nhearsay %s COMMAND --help tells more about one.\n", group);
    return any;
}

static void print_commands(FILE *out, const node_command_t *commands)
{
    fprintf(out, "hearsay: peer-to-peer federated learning by gossip\n\n"
                 "Usage: hearsay COMMAND [OPTION...] [ARGUMENT...]\n\n");
    for (const node_command_t *command = commands; command->name; command++)
        print_command(out, command);
    fprintf(out, "\nhearsay COMMAND --help tells more about one, hearsay help config lists every "
                 "key of a\nconfiguration. hearsay --version prints the version.\n");
}

/* How many of the words of argv the name of the command takes, 0 when it is another. */
static int match(const node_command_t *command, int argc, char **argv)
{
    const char *space = strchr(command->name, ' ');
    size_t first = space ? (size_t)(space - command->name) : strlen(command->name);
    if (argc < 2 || strlen(argv[1]) != first || strncmp(argv[1], command->name, first) != 0)
        return 0;
    if (!space)
        return 1;
    return argc > 2 && !strcmp(argv[2], space + 1) ? 2 : 0;
}

static int unknown_command(int argc, char **argv, const node_command_t *commands)
{
    const char *names[64];
    char list[256] = "", shown[64];
    size_t count = 0, n = 0, length = strlen(argv[1]);
    for (const node_command_t *command = commands; command->name && count < 64; command++) {
        names[count++] = command->name;
        if (in_group(command, argv[1]) && n + 32 < sizeof list)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "",
                                  command->name + length + 1);
    }
    char *both = argc > 2 ? xasprintf("%s %s", argv[1], argv[2]) : xstrdup(argv[1]);
    const char *nearest = text_nearest(n ? both : argv[1], names, count);
    text_printable(shown, sizeof shown, n ? both : argv[1], strlen(n ? both : argv[1]));
    if (nearest)
        fprintf(stderr, "hearsay: there is no command \"%s\"; did you mean \"%s\"?\n", shown,
                nearest);
    else if (n)
        fprintf(stderr, "hearsay: %s needs to know what: %s\n", argv[1], list);
    else
        fprintf(stderr, "hearsay: there is no command \"%s\"; hearsay --help lists them\n", shown);
    free(both);
    return NODE_EXIT_USAGE;
}

static int dispatch(int argc, char **argv, const node_command_t *commands)
{
    bool help = argc > 1 && !strcmp(argv[1], "help");
    if (argc < 2) {
        print_commands(stderr, commands);
        return NODE_EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || (help && argc == 2)) {
        print_commands(stdout, commands);
        return NODE_EXIT_DONE;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
        printf("hearsay " HEARSAY_VERSION "\n");
        return NODE_EXIT_DONE;
    }
    if (help && !strcmp(argv[2], "config")) {
        node_config_describe(stdout);
        return NODE_EXIT_DONE;
    }
    if (help) { /* hearsay help up: hearsay up --help */
        argv++;
        argc--;
    }
    bool asked =
        help ? argc == 2 : argc == 3 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"));
    if (asked && print_group(stdout, commands, argv[1]))
        return NODE_EXIT_DONE;
    for (const node_command_t *command = commands; command->name; command++) {
        int words = match(command, argc, argv);
        char *ask[] = {argv[0], "--help", NULL};
        if (words)
            return help ? run_command(command, 2, ask)
                        : run_command(command, argc - words, argv + words);
    }
    return unknown_command(argc, argv, commands);
}

int node_args_main(int argc, char **argv, const node_command_t *commands)
{
    int status = dispatch(argc, argv, commands);
    if ((fflush(stdout) || ferror(stdout)) && status == NODE_EXIT_DONE) {
        fprintf(stderr, "hearsay: cannot write to the standard output: %m\n");
        status = NODE_EXIT_FAILED;
    }
    return status;
}

int node_exit(err_t err)
{
    if (err)
        fprintf(stderr, "hearsay: %s\n", err_message());
    return !err                                    ? NODE_EXIT_DONE
           : err == ERR_CONFIG || err == ERR_USAGE ? NODE_EXIT_USAGE
                                                   : NODE_EXIT_FAILED;
}
