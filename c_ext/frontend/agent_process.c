#define _GNU_SOURCE
#include "agent_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "message.h"
#include "python.h"

static void redirect(const struct guard_order *order)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = openat(order->meeting->dir, "agent.log",
                     O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    if (log >= 0) {
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
    }
}

/* The user's standard error, for the day when the guard is gone. */
static void give_voice(void)
{
    char number[16];
    int voice = fcntl(STDERR_FILENO, F_DUPFD, STDERR_FILENO + 1);
    snprintf(number, sizeof number, "%d", voice);
    setenv("SHIM_VOICE_FD", number, 1);
}

static void restore_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < SIGRTMIN; number++)
        signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The agent presents itself upstream as the lowest rank of the node: Slurm expects each rank to
 * be one process, and the ranks themselves never speak to it. */
static void set_environment(const struct context *context)
{
    char number[16], self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length > 0) {
        self[length] = '\0';
        setenv("SHIM_FRONTEND", self, 1);
    }
    snprintf(number, sizeof number, "%u", context->identity);
    if (context->has_pmix)
        setenv("PMIX_RANK", number, 1);
}

static void inherit(int fd)
{
    fcntl(fd, F_SETFD, 0);
}

_Noreturn static void become_agent(const struct guard_order *order, int report)
{
    char listener[16], guard[16];
    size_t count = 0;
    snprintf(listener, sizeof listener, "%d", order->listener);
    snprintf(guard, sizeof guard, "%d", report);
    while (order->arguments[count])
        count++;
    const char *own[] = {"--listen-fd", listener, "--guard-fd", guard, "--run-dir",
                         order->meeting->path, "--key", order->context->key};
    enum { OWN = sizeof own / sizeof *own };
    const char **arguments = calloc(OWN + count + 1, sizeof *arguments);
    if (arguments) {
        memcpy(arguments, own, sizeof own);
        memcpy(arguments + OWN, order->arguments, count * sizeof *arguments);
        inherit(order->listener);
        inherit(report);
        python_exec("shim.agent", (char *const *)arguments);
    }
    dprintf(report, "fatal %d Cannot start the agent: %s: %s. Set SHIM_PYTHON to a Python "
                    "interpreter that has shim installed.\n",
            EXIT_SHIM, python_path(), strerror(errno));
    _exit(EXIT_SHIM);
}

pid_t agent_fork_abort(const struct guard_order *order)
{
    pid_t child = fork();
    if (child == 0) {
        char code[16];
        redirect(order);
        restore_signals();
        set_environment(order->context);
        snprintf(code, sizeof code, "%d", EXIT_SHIM);
        char *arguments[] = {code, NULL};
        python_exec("shim.agent.last_word", arguments);
        _exit(EXIT_SHIM);
    }
    return child;
}

pid_t agent_fork(const struct guard_order *order, bool share_streams, int *pipe_fd)
{
    int ends[2];
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    pid_t child = fork();
    if (child == 0) {
        /* A guard that is gone cannot clean up; the agent then ends its ranks itself. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(EXIT_SHIM);
        give_voice();
        if (!share_streams)
            redirect(order);
        restore_signals();
        set_environment(order->context);
        become_agent(order, ends[1]);
    }
    int error = errno;
    close(ends[1]);
    if (child < 0)
        close(ends[0]);
    *pipe_fd = ends[0];
    errno = error;
    return child;
}
