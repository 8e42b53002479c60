/* What the agent answered: how this process becomes the rank. */
#ifndef SHIM_TICKET_H
#define SHIM_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

struct ticket_space {
    uint32_t flag; /* CLONE_NEWUSER, ... */
    int fd;
};

/* The pointers into the frame live as long as it does; texts live until execve. */
struct ticket {
    struct ticket_space spaces[WIRE_MAX_FDS];
    size_t space_count;
    char **env;
    size_t env_count;
    char **argv;              /* of a fallback; else NULL */
    size_t argv_count;
    const char *cwd, *home;
    bool cwd_required, no_new_privs;
    bool has_capabilities, has_umask;
    uint64_t bounding, inheritable, ambient;
    uint32_t umask;
    const unsigned char *cpus; /* NULL: leave the affinity as it is */
    size_t cpu_bytes;
    bool has_policy;
    uint32_t policy;
    const unsigned char *policy_nodes;
    size_t policy_bytes;
};

/* Reads a TICKET or FALLBACK frame and prints its notes; does not return on a malformed one. */
void ticket_read(const struct wire_in *frame, struct ticket *ticket);

/* Replaces or adds one variable of the program's environment. */
void ticket_set_variable(struct ticket *ticket, const char *name, const char *value);
const char *ticket_variable(const struct ticket *ticket, const char *name);

#endif
