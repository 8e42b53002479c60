/* Entering the container that the agent keeps. */
#ifndef SHIM_JOIN_H
#define SHIM_JOIN_H

#include "ticket.h"

/* Enters the namespaces and sets the privileges that the runtime sets before it executes a command.
 * With a PID namespace among them it returns in a child; the caller's process stays as its proxy
 * (proxy.h). Does not return on failure. */
void join_container(struct ticket *ticket);

#endif
