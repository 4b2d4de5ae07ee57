/* node/bench_report.h: what `hearsay bench` tells, as text and as JSON. */
#pragma once
#include "nn/bench.h"

typedef struct {
    const nn_arch_t *arch;
    const char *precision; /* "fp32" */
    const nn_bench_options_t *options;
    const nn_bench_t *bench;
    const nn_ceilings_t *ceilings; /* NULL without layers */
    uint64_t peak_memory;          /* bytes: VmHWM when the steps were done */
} node_bench_report_t;

void node_bench_print(const node_bench_report_t *report);
void node_bench_print_json(const node_bench_report_t *report);
