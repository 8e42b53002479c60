#include <stdlib.h>

#include "commands.h"
#include "context.h"
#include "guard.h"
#include "message.h"
#include "rendezvous.h"

void command_agent(char **argv)
{
    struct context context;
    struct rendezvous meeting;
    int connection, listener;
    context_read(&context);
    rendezvous_meet(&meeting, context.key, context.launcher == LAUNCHER_SLURM, &connection, &listener);
    if (listener < 0)
        die(EXIT_SHIM, "An agent of %s runs on node %s already. Start one task per node "
                       "(srun --ntasks-per-node=1).", context.label, context.node);
    struct guard_order order = {.meeting = &meeting, .context = &context, .listener = listener,
                                .arguments = argv};
    exit(guard_foreground(&order));
}
