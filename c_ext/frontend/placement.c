#include "placement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "message.h"

enum { FIRST_MASK = 128, LAST_MASK = 1 << 20 };

unsigned char *placement_affinity(size_t *bytes)
{
    /* The kernel refuses a mask shorter than its own, whose size it does not tell
     * (sched_getaffinity(2)): double it until it fits. */
    for (size_t size = FIRST_MASK; size <= LAST_MASK; size *= 2) {
        unsigned char *mask = calloc(1, size);
        if (!mask)
            return NULL;
        long used = syscall(SYS_sched_getaffinity, 0, size, mask);
        if (used > 0) {
            while (used > 0 && mask[used - 1] == 0)
                used--;
            *bytes = (size_t)used;
            return mask;
        }
        free(mask);
        if (errno != EINVAL)
            return NULL;
    }
    return NULL;
}

/* The kernel reads whole words. */
static unsigned long *words_of(const unsigned char *data, size_t bytes, size_t *size)
{
    *size = (bytes + sizeof(unsigned long) - 1) / sizeof(unsigned long) * sizeof(unsigned long);
    unsigned long *words = calloc(1, *size + sizeof(unsigned long));
    if (words && bytes)
        memcpy(words, data, bytes); /* little-endian machines only; see the build's check below */
    return words;
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "CPU masks travel as little-endian bytes and are handed to the kernel as they are"
#endif

static void bind_memory(const struct ticket *ticket)
{
    size_t size;
    unsigned long *nodes = words_of(ticket->policy_nodes, ticket->policy_bytes, &size);
    /* maxnode counts one bit more than it reads (mm/mempolicy.c, get_nodes). */
    if (!nodes || syscall(SYS_set_mempolicy, (int)ticket->policy, size ? nodes : NULL,
                          size ? size * 8 + 1 : 0))
        say("The memory policy could not be set: %s. Memory stays where the kernel puts it.",
            strerror(errno));
    free(nodes);
}

void placement_apply(const struct ticket *ticket)
{
    if (ticket->cpus) {
        size_t size;
        unsigned long *cpus = words_of(ticket->cpus, ticket->cpu_bytes, &size);
        if (!cpus || syscall(SYS_sched_setaffinity, 0, size, cpus))
            say("The rank could not be bound to its CPUs: %s. It keeps the CPUs it had.",
                strerror(errno));
        free(cpus);
    }
    if (ticket->has_policy)
        bind_memory(ticket);
}
