/* CPU affinity and memory policy of this process. */
#ifndef SHIM_PLACEMENT_H
#define SHIM_PLACEMENT_H

#include <stddef.h>

#include "ticket.h"

/* The affinity mask, little-endian, trailing zeros cut; NULL: errno says why. */
unsigned char *placement_affinity(size_t *bytes);

/* Binds as the ticket says; says so where the kernel does not allow it. */
void placement_apply(const struct ticket *ticket);

#endif
