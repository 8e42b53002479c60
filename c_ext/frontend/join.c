#define _GNU_SOURCE
#include "join.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "message.h"
#include "proxy.h"

static const char *name_of(uint32_t flag)
{
    switch (flag) {
    case CLONE_NEWUSER: return "user";
    case CLONE_NEWNS: return "mount";
    case CLONE_NEWIPC: return "IPC";
    case CLONE_NEWUTS: return "UTS";
    case CLONE_NEWPID: return "PID";
    case CLONE_NEWNET: return "network";
    case CLONE_NEWCGROUP: return "cgroup";
    default: return "unknown";
    }
}

static void enter(const struct ticket *ticket)
{
    bool new_pids = false;
    for (size_t i = 0; i < ticket->space_count; i++) {
        const struct ticket_space *space = &ticket->spaces[i];
        if (setns(space->fd, (int)space->flag))
            die(EXIT_SHIM, "Cannot enter the container's %s namespace: %s. Run the step again; "
                           "if it happens again, run `shim doctor`.",
                name_of(space->flag), strerror(errno));
        new_pids |= space->flag == CLONE_NEWPID;
    }
    if (new_pids)
        proxy_fork(); /* setns(2): a PID namespace is entered by children only */
}

/* What the runtime drops: starter.c's apply_privileges. Entering a user namespace of ours gave us
 * every capability in it; execve of a non-root uid clears all sets but the bounding one. */
static void give_up(const struct ticket *ticket)
{
    if (ticket->has_bounding)
        for (int capability = 0; capability < 64; capability++)
            if (!(ticket->bounding >> capability & 1) &&
                prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1 &&
                prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
                die(EXIT_SHIM, "Cannot drop capability %d: %s. Report this as a fault of shim.",
                    capability, strerror(errno));
    if (ticket->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        die(EXIT_SHIM, "Cannot set no_new_privs: %s. Report this as a fault of shim.",
            strerror(errno));
}

/* The runtime's own rule: the directory, else home, else the root; with --pwd no second choice
 * (process_linux.go, StartProcess). */
static void go_to_directory(struct ticket *ticket)
{
    if (!ticket->cwd || !chdir(ticket->cwd))
        return;
    int error = errno;
    if (ticket->cwd_required)
        die(EXIT_SHIM, "The working directory %s cannot be entered in the container: %s. "
                       "Name an existing one with --pwd, or bind it with --bind.",
            ticket->cwd, strerror(error));
    const char *place = ticket->home && !chdir(ticket->home) ? ticket->home : "/";
    if (!strcmp(place, "/") && chdir("/"))
        die(EXIT_SHIM, "The container's root directory cannot be entered: %s. Check the image.",
            strerror(errno));
    say("The working directory %s cannot be entered in the container (%s), so it is %s instead. "
        "Bind it with --bind if the program needs it.", ticket->cwd, strerror(error), place);
    ticket_set_variable(ticket, "PWD", place);
}

void join_container(struct ticket *ticket)
{
    enter(ticket);
    if (ticket->has_umask)
        umask(ticket->umask);
    give_up(ticket);
    go_to_directory(ticket);
}
