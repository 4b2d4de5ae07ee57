#include "node/interrupt.h"

#include <signal.h>
#include <stddef.h>

volatile bool node_interrupted;
volatile int node_interrupt_count;

/* A terminal that goes may hang up twice, by the kernel and by its shell: that is one wish. */
static void on_signal(int number)
{
    node_interrupted = true;
    if (number != SIGHUP || node_interrupt_count == 0)
        node_interrupt_count = node_interrupt_count + 1;
}

void node_interrupt_setup(void)
{
    struct sigaction action = {.sa_handler = on_signal}, before;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &before) || before.sa_handler != SIG_IGN) /* nohup ignores it */
        sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}
