/* Standing in for a rank that had to be forked into a PID namespace. */
#ifndef SHIM_PROXY_H
#define SHIM_PROXY_H

/* Returns in the child. The parent forwards signals to it and ends as it ends: with its exit
 * code, or by its signal. */
void proxy_fork(void);

#endif
