#include "node/interrupt.h"

#include <signal.h>
#include <stddef.h>

volatile bool node_interrupted;
volatile int node_interrupt_count;

static void on_signal(int number)
{
    (void)number;
    node_interrupted = true;
    node_interrupt_count = node_interrupt_count + 1;
}

void node_interrupt_setup(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}
