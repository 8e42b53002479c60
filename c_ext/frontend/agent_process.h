/* Starting the agent. */
#ifndef SHIM_AGENT_PROCESS_H
#define SHIM_AGENT_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "guard.h"

/* Forks `python -m shim.agent`; *pipe_fd* gets the end from which its lines are read. Its output
 * goes to agent.log, unless it is to share our standard streams. -1: errno says why. */
pid_t agent_fork(const struct guard_order *order, bool share_streams, int *pipe_fd);

/* Forks `python -m shim.agent.last_word`, which asks the launcher to end the job. */
pid_t agent_fork_abort(const struct guard_order *order);

#endif
