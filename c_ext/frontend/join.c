#define _GNU_SOURCE
#include "join.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

_Noreturn static void capability_fault(const char *what)
{
    die(EXIT_SHIM, "Cannot set the %s capabilities of the rank: %s. Report this as a fault of shim.",
        what, strerror(errno));
}

static void drop_bounding(uint64_t keep)
{
    for (int number = 0; number < 64; number++)
        if (!(keep >> number & 1) && prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1 &&
            prctl(PR_CAPBSET_DROP, number, 0, 0, 0))
            capability_fault("bounding");
}

static void set_inheritable(uint64_t wanted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, sets))
        capability_fault("inheritable");
    sets[0].inheritable = (uint32_t)wanted;
    sets[1].inheritable = (uint32_t)(wanted >> 32);
    if (syscall(SYS_capset, &header, sets))
        capability_fault("inheritable");
}

static void set_ambient(uint64_t wanted)
{
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int number = 0; number < 64; number++)
        if ((wanted >> number & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0))
            capability_fault("ambient");
}

/* As the runtime does (starter.c, apply_privileges). Entering a user namespace of ours gave us
 * every capability in it; what is left after execve follows from these three sets. */
static void set_privileges(const struct ticket *ticket)
{
    if (ticket->has_capabilities) {
        /* The inheritable set may only grow within the bounding one: first that. */
        set_inheritable(ticket->inheritable);
        drop_bounding(ticket->bounding);
        set_ambient(ticket->ambient);
    }
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
    set_privileges(ticket);
    go_to_directory(ticket);
}
