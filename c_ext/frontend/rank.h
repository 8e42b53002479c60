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

/* Never returns: this process becomes the program. */
_Noreturn void rank_run(const struct rank_order *order);

#endif
