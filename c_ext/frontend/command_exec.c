#include "commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "context.h"
#include "guard.h"
#include "message.h"
#include "options.h"
#include "python.h"
#include "rank.h"
#include "rendezvous.h"

enum { ATTEMPTS = 5 };

/* Without PMIx each of N tasks would take itself for the only rank: the commonest silent failure
 * of MPI in containers. */
static void refuse_singletons(const struct context *context, const struct exec_request *request)
{
    if (context->tasks < 2 || context->has_pmix || request->no_pmix)
        return;
    if (context->launcher == LAUNCHER_SLURM)
        die(EXIT_SHIM, "This step has %lu tasks but no PMIx, so each would run as a job of its own. "
                       "Use `srun --mpi=pmix`, or `shim exec --no-pmix` if that is meant.",
            context->tasks);
    die(EXIT_SHIM, "The launcher started %lu ranks but offers no PMIx, so each would run as a job of "
                   "its own. Use `prterun` or `srun --mpi=pmix`, or `shim exec --no-pmix` if that "
                   "is meant.", context->tasks);
}

static void start_agent(struct rendezvous *meeting, const struct context *context, int listener,
                        const struct exec_request *request)
{
    char **arguments = calloc(request->option_count + 2, sizeof *arguments);
    if (!arguments)
        die(EXIT_SHIM, "Out of memory. Ask for more.");
    arguments[0] = "--";
    memcpy(arguments + 1, request->options, request->option_count * sizeof *arguments);
    struct guard_order order = {.meeting = meeting, .context = context, .listener = listener,
                                .arguments = arguments};
    say_verbose("Rank %u starts the agent of %s on node %s.", context->rank, context->label,
                context->node);
    guard_start(&order);
    free(arguments);
}

/* Finds or starts the agent and becomes the rank; returns where the agent was about to leave. */
static void attend(const struct context *context, const struct exec_request *request)
{
    struct rendezvous meeting;
    int connection, listener;
    rendezvous_meet(&meeting, context->key, context->launcher == LAUNCHER_SLURM, &connection,
                    &listener);
    if (listener >= 0) {
        start_agent(&meeting, context, listener, request);
        connection = rendezvous_connect(&meeting);
        /* Not earlier: an agent that is dead already must be seen as one that hung up. */
        close(listener);
        rendezvous_unlock(&meeting);
    }
    if (connection < 0)
        die(EXIT_SHIM, "Cannot connect to the agent in %s: %s. Run the step again.", meeting.path,
            strerror(errno));
    struct rank_order order = {
        .socket = connection, .rank = context->rank,
        .options = request->options, .option_count = request->option_count,
        .command = request->command, .timeout = request->timeout,
        .meeting = &meeting, .label = context->label, .node = context->node};
    rank_run(&order);
    close(connection);
    rendezvous_leave(&meeting);
}

void command_exec(char **argv)
{
    struct exec_request request;
    struct context context;
    options_parse(argv, &request);
    if (request.help) {
        char *help[] = {"exec", "--help", NULL};
        python_exec("shim", help);
        die(EXIT_SHIM, "Cannot start %s: %s. Set SHIM_PYTHON to a Python interpreter that has shim "
                       "installed.", python_path(), strerror(errno));
    }
    context_read(&context);
    refuse_singletons(&context, &request);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++)
        attend(&context, &request);
    die(EXIT_SHIM, "The agents of %s on node %s ended one after the other without serving rank %u. "
                   "Run the step again.", context.label, context.node, context.rank);
}
