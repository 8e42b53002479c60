/* Removes a step's files where the guard cannot. */
#ifndef SHIM_JANITOR_H
#define SHIM_JANITOR_H

#include "rendezvous.h"

/* Forks a process that waits for the end of this one, the guard. A guard in the foreground is the
 * launcher's task, and is killed when the launcher kills its job. */
void janitor_start(const struct rendezvous *meeting);

#endif
