/* One rank's conversation with its agent, up to its program. */
#ifndef SHIM_RANK_H
#define SHIM_RANK_H

#include <stddef.h>
#include <stdint.h>

#include "rendezvous.h"

struct rank_order {
    int socket;
    uint32_t rank;
    char **options;              /* and image */
    size_t option_count;
    char **command;
    unsigned timeout;            /* seconds to wait for a ticket; 0: for ever */
    const struct rendezvous *meeting; /* NULL where the agent itself is our parent */
    const char *label, *node;
};

/* This process becomes the program. Returns only where the agent had ended its work, as if no rank
 * were left to come, before it heard of this one: then another agent is to be started. */
void rank_run(const struct rank_order *order);

#endif
