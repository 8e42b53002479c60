#define _GNU_SOURCE
#include "proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "message.h"

static bool is_own(int number)
{
    return number == SIGKILL || number == SIGSTOP || number == SIGCHLD || number == SIGSEGV ||
           number == SIGBUS || number == SIGFPE || number == SIGILL;
}

static void all_but_own(sigset_t *set)
{
    sigfillset(set);
    for (int number = 1; number < NSIG; number++)
        if (is_own(number))
            sigdelset(set, number);
    sigaddset(set, SIGCHLD);
}

_Noreturn static void end_as(int status)
{
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    /* The launcher must see the signal; the core, if any, is the child's. */
    struct rlimit none = {0, 0};
    sigset_t set;
    setrlimit(RLIMIT_CORE, &none);
    signal(WTERMSIG(status), SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, WTERMSIG(status));
    kill(getpid(), WTERMSIG(status));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + WTERMSIG(status));
}

static void reap(pid_t child)
{
    int status;
    while (waitpid(child, &status, WNOHANG | WUNTRACED | WCONTINUED) > 0) {
        if (WIFSTOPPED(status))
            raise(SIGSTOP);
        else if (!WIFCONTINUED(status))
            end_as(status);
    }
}

/* What is open belongs to the program: its readers wait for it alone to close it, and the agent
 * takes the closing of our socket for its start. */
static void let_go(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    syscall(SYS_close_range, (unsigned)STDERR_FILENO + 1, ~0u, 0u);
}

_Noreturn static void stand_in(pid_t child, const sigset_t *waited)
{
    let_go();
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(waited, &info);
        if (number == SIGCHLD)
            reap(child);
        else if (number > 0)
            kill(child, number);
    }
}

void proxy_fork(void)
{
    sigset_t waited, before;
    all_but_own(&waited);
    sigprocmask(SIG_BLOCK, &waited, &before);
    pid_t child = fork();
    if (child < 0)
        die(EXIT_SHIM, "Cannot start the rank in the container's PID namespace: %s. "
                       "Check the limits on processes (ulimit -u).", strerror(errno));
    if (child > 0)
        stand_in(child, &waited);
    /* SIGKILL of the launcher reaches only the proxy. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &before, NULL);
}
