#include "wards.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wire.h"

void wards_add(struct wards *wards, pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0u);
    if (pidfd < 0)
        return; /* it has ended already */
    if (wards->count == wards->capacity) {
        size_t capacity = wards->capacity ? wards->capacity * 2 : 64;
        struct ward *list = realloc(wards->list, capacity * sizeof *list);
        if (!list) {
            close(pidfd);
            return;
        }
        wards->list = list;
        wards->capacity = capacity;
    }
    wards->list[wards->count++] = (struct ward){.pid = pid, .pidfd = pidfd};
}

static void drop_at(struct wards *wards, size_t at)
{
    close(wards->list[at].pidfd);
    wards->list[at] = wards->list[--wards->count];
}

void wards_drop(struct wards *wards, pid_t pid)
{
    for (size_t i = 0; i < wards->count; i++)
        if (wards->list[i].pid == pid) {
            drop_at(wards, i);
            return;
        }
}

void wards_signal(const struct wards *wards, int number)
{
    for (size_t i = 0; i < wards->count; i++) {
        syscall(SYS_pidfd_send_signal, wards->list[i].pidfd, number, NULL, 0u);
        syscall(SYS_pidfd_send_signal, wards->list[i].pidfd, SIGCONT, NULL, 0u);
    }
}

/* A pidfd is readable once its process has ended (pidfd_open(2)). */
static bool has_ended(const struct ward *ward, int milliseconds)
{
    struct pollfd entry = {.fd = ward->pidfd, .events = POLLIN};
    return poll(&entry, 1, milliseconds) > 0;
}

bool wards_wait(struct wards *wards, int milliseconds)
{
    int64_t deadline = wire_now() + milliseconds;
    while (wards->count > 0) {
        int64_t left = deadline - wire_now();
        if (has_ended(&wards->list[0], left > 0 ? (int)left : 0))
            drop_at(wards, 0);
        else if (left <= 0)
            return false;
    }
    return true;
}
