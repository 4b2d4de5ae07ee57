/* node/interrupt.h: Ctrl-C and its kind as a flag that loops look at. */
#pragma once
#include <stdbool.h>

/* SIGINT, SIGTERM and, where nohup has not had it ignored, SIGHUP set the flag (and interrupt
 * waiting calls); SIGPIPE is ignored. */
void node_interrupt_setup(void);
/* True from the first such signal on. */
extern volatile bool node_interrupted;
/* How many came; of hang-ups only one counts. */
extern volatile int node_interrupt_count;
