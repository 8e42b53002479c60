/* The guard: starts the agent, and ends what is left of the step on this node if the agent dies.
 *
 * It is the one process that survives the agent, so it holds no state but pids. The agent tells
 * it, in lines on a pipe:
 *
 *   rank PID      a rank runs; its pidfd is opened now, so that a recycled pid is never hit
 *   gone PID      it ended
 *   keeper PID    the process that keeps the container
 *   fatal CODE TEXT   the agent is about to end on its own accord, with this sentence
 *   say TEXT      a line for the user
 *   quiet         nothing will be said any more: the step's standard error can be let go
 *   upstream      the launcher knows the agent, and can be asked to end the job everywhere
 *   done          everything is over; nothing is to be ended */
#ifndef SHIM_GUARD_H
#define SHIM_GUARD_H

#include "context.h"
#include "rendezvous.h"

struct guard_order {
    struct rendezvous *meeting;
    const struct context *context;
    int listener;
    char *const *arguments; /* for the agent, after its own; NULL-terminated */
};

/* Forks the guard, which forks the agent. Returns in the caller only. */
void guard_start(const struct guard_order *order);

/* Is the guard itself, in the foreground: forwards signals to the agent, whose standard streams
 * are ours, and returns the exit status for the launcher. */
int guard_foreground(const struct guard_order *order);

#endif
