/* The processes that the guard has to end if the agent cannot. */
#ifndef SHIM_WARDS_H
#define SHIM_WARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ward {
    pid_t pid;
    int pidfd;
};

struct wards {
    struct ward *list;
    size_t count, capacity;
};

void wards_add(struct wards *wards, pid_t pid);
void wards_drop(struct wards *wards, pid_t pid);
/* Sends a signal to all; they are continued too, as a stopped process does not die of SIGTERM. */
void wards_signal(const struct wards *wards, int number);
/* Waits until all have ended; false after *milliseconds*. */
bool wards_wait(struct wards *wards, int milliseconds);

#endif
