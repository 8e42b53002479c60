/* Executing the program. */
#ifndef SHIM_PROGRAM_H
#define SHIM_PROGRAM_H

/* Looks *argv[0]* up on *search* (a PATH) and executes it with *env*, as the runtime would:
 * what has no interpreter line is given to /bin/sh. Returns only on failure, errno set. */
void program_exec(char **argv, char **env, const char *search);

#endif
