#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_process.h"
#include "janitor.h"
#include "message.h"
#include "wards.h"

enum { ABORT_MS = 3000, GRACE_MS = 2000, KILL_MS = 2000, MAX_LINE = 4096 };

struct guard {
    const struct guard_order *order;
    pid_t agent;
    int lines;       /* the agent's pipe */
    int signals;     /* signalfd in the foreground, else -1 */
    char buffer[MAX_LINE];
    size_t buffered;
    struct wards ranks, keeper;
    bool done, upstream;
    int fatal;       /* exit code of a fatal line, else 0 */
    char sentence[MAX_LINE];
};

static const int FORWARDED[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP};

/* slurmstepd ends the step when the last writer of its tasks' streams has gone; that is not to be
 * us while the container is taken down. */
static void let_go_of_stderr(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0)
        dup2(null, STDERR_FILENO);
}

static void obey(struct guard *guard, const char *line)
{
    long pid = 0;
    int at = 0;
    if (sscanf(line, "rank %ld", &pid) == 1 && pid > 0)
        wards_add(&guard->ranks, (pid_t)pid);
    else if (sscanf(line, "gone %ld", &pid) == 1)
        wards_drop(&guard->ranks, (pid_t)pid);
    else if (sscanf(line, "keeper %ld", &pid) == 1 && pid > 0)
        wards_add(&guard->keeper, (pid_t)pid);
    else if (sscanf(line, "fatal %d %n", &guard->fatal, &at) == 1)
        snprintf(guard->sentence, sizeof guard->sentence, "%s", line + at);
    else if (!strncmp(line, "say ", 4))
        dprintf(STDERR_FILENO, "%s\n", line + 4);
    else if (!strcmp(line, "quiet") && guard->signals < 0)
        let_go_of_stderr();
    else if (!strcmp(line, "upstream"))
        guard->upstream = true;
    else if (!strcmp(line, "done"))
        guard->done = true;
}

/* False at the end of the pipe, that is, when the agent has gone. */
static bool read_lines(struct guard *guard)
{
    ssize_t count = read(guard->lines, guard->buffer + guard->buffered,
                         sizeof guard->buffer - 1 - guard->buffered);
    if (count < 0)
        return errno == EINTR;
    if (count == 0)
        return false;
    guard->buffered += (size_t)count;
    guard->buffer[guard->buffered] = '\0';
    char *line = guard->buffer, *end;
    while ((end = strchr(line, '\n'))) {
        *end = '\0';
        obey(guard, line);
        line = end + 1;
    }
    guard->buffered = strlen(line);
    memmove(guard->buffer, line, guard->buffered + 1);
    if (guard->buffered == sizeof guard->buffer - 1)
        guard->buffered = 0; /* no line of ours is so long */
    return true;
}

static void forward(const struct guard *guard)
{
    struct signalfd_siginfo info;
    if (read(guard->signals, &info, sizeof info) != sizeof info)
        return;
    kill(guard->agent, (int)info.ssi_signo);
    if (info.ssi_signo == SIGTSTP)
        raise(SIGSTOP);
}

/* Serves until the agent has ended; returns its wait status. */
static int serve(struct guard *guard)
{
    int pidfd = (int)syscall(SYS_pidfd_open, guard->agent, 0u);
    bool open = true;
    for (;;) {
        struct pollfd entries[] = {{.fd = pidfd, .events = POLLIN},
                                   {.fd = open ? guard->lines : -1, .events = POLLIN},
                                   {.fd = guard->signals, .events = POLLIN}};
        if (poll(entries, 3, -1) < 0 && errno != EINTR)
            break;
        if (entries[1].revents)
            open = read_lines(guard);
        else if (entries[0].revents)
            break; /* only when its last lines were read */
        if (entries[2].revents)
            forward(guard);
    }
    int status = 0;
    while (waitpid(guard->agent, &status, 0) < 0 && errno == EINTR)
        continue;
    close(pidfd);
    return status;
}

static void describe(const struct guard *guard, int status, char *cause, size_t size)
{
    char words[512];
    rendezvous_last_words(guard->order->meeting, words, sizeof words);
    if (WIFSIGNALED(status))
        snprintf(cause, size, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(cause, size, "ended with status %d%s%s", WEXITSTATUS(status),
                 *words ? ": " : "", words);
}

static void speak(const struct guard *guard, int status)
{
    const struct context *context = guard->order->context;
    char cause[640];
    if (!rendezvous_may_speak(guard->order->meeting))
        return;
    if (guard->fatal) {
        say("%s", guard->sentence);
        return;
    }
    describe(guard, status, cause, sizeof cause);
    say("The agent of %s on node %s %s, so its %zu rank(s) here are ended. "
        "Run the step again; if it happens again, report it with --verbose.",
        context->label, context->node, cause, guard->ranks.count);
}

/* The ranks of other nodes would wait for ours: ask the launcher to end them all. It kills ours
 * too, so what follows finds them gone. */
static void end_elsewhere(const struct guard *guard)
{
    if (!guard->upstream || guard->fatal)
        return;
    pid_t child = agent_fork_abort(guard->order);
    int pidfd = child < 0 ? -1 : (int)syscall(SYS_pidfd_open, child, 0u);
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};
    if (pidfd >= 0 && poll(&entry, 1, ABORT_MS) == 0)
        kill(child, SIGKILL);
    if (child > 0)
        waitpid(child, NULL, 0);
    if (pidfd >= 0)
        close(pidfd);
}

static void end_everything(struct guard *guard)
{
    end_elsewhere(guard);
    wards_signal(&guard->ranks, SIGTERM);
    if (!wards_wait(&guard->ranks, GRACE_MS)) {
        wards_signal(&guard->ranks, SIGKILL);
        wards_wait(&guard->ranks, KILL_MS);
    }
    /* The keeper ends by itself when the agent's end of its socket closes; a stuck one is killed,
     * and the kernel then takes down the container's namespaces. */
    if (!wards_wait(&guard->keeper, KILL_MS / 4)) {
        wards_signal(&guard->keeper, SIGKILL);
        wards_wait(&guard->keeper, KILL_MS);
    }
}

static int watch(struct guard *guard)
{
    int status = serve(guard);
    bool well = guard->done && WIFEXITED(status);
    if (!well) {
        speak(guard, status);
        end_everything(guard);
    }
    rendezvous_remove(guard->order->meeting);
    if (guard->fatal)
        return guard->fatal;
    return WIFEXITED(status) && (well || WEXITSTATUS(status)) ? WEXITSTATUS(status) : EXIT_SHIM;
}

static bool begin(struct guard *guard, bool share_streams)
{
    guard->agent = agent_fork(guard->order, share_streams, &guard->lines);
    /* Only the agent may listen: a dead one's socket must refuse, not queue. */
    close(guard->order->listener);
    if (guard->agent < 0)
        say("Cannot start the agent: %s. Check the limits on processes and memory (ulimit -a).",
            strerror(errno));
    return guard->agent >= 0;
}

/* Everything that was open in the program's front-end belongs to the program: holding it here
 * would keep pipes from closing. Standard error stays, for the one sentence. */
static void close_inherited(const struct guard_order *order)
{
    const struct rendezvous *meeting = order->meeting;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    int highest = (int)sysconf(_SC_OPEN_MAX);
    if (highest < 0 || highest > 4096)
        highest = 4096;
    for (int fd = STDERR_FILENO + 1; fd < highest; fd++)
        if (fd != order->listener && fd != meeting->dir && fd != meeting->user_dir)
            close(fd);
}

_Noreturn static void be_guard(const struct guard_order *order)
{
    struct guard guard = {.order = order, .signals = -1};
    prctl(PR_SET_NAME, "shim-guard");
    for (size_t i = 0; i < sizeof FORWARDED / sizeof *FORWARDED; i++)
        signal(FORWARDED[i], SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    close_inherited(order);
    order->meeting->lock = -1;
    if (!begin(&guard, false))
        _exit(EXIT_SHIM);
    if (chdir("/"))
        say_verbose("The guard stays in its working directory: %s.", strerror(errno));
    rendezvous_sweep(order->meeting);
    _exit(watch(&guard));
}

void guard_start(const struct guard_order *order)
{
    pid_t middle = fork();
    if (middle == 0) {
        setsid();
        /* The grandchild is nobody's child: the program must not find an unknown one in wait(2). */
        pid_t child = fork();
        if (child == 0)
            be_guard(order);
        _exit(child < 0);
    }
    int status = 1;
    if (middle > 0)
        while (waitpid(middle, &status, 0) < 0 && errno == EINTR)
            continue;
    if (status)
        die(EXIT_SHIM, "Cannot start the agent: %s. "
                       "Check the limits on processes and memory (ulimit -a).", strerror(errno));
}

int guard_foreground(const struct guard_order *order)
{
    struct guard guard = {.order = order};
    sigset_t forwarded;
    sigemptyset(&forwarded);
    for (size_t i = 0; i < sizeof FORWARDED / sizeof *FORWARDED; i++)
        sigaddset(&forwarded, FORWARDED[i]);
    sigprocmask(SIG_BLOCK, &forwarded, NULL);
    guard.signals = signalfd(-1, &forwarded, SFD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    janitor_start(order->meeting);
    if (guard.signals < 0 || !begin(&guard, true))
        return EXIT_SHIM;
    rendezvous_unlock(order->meeting);
    rendezvous_sweep(order->meeting);
    return watch(&guard);
}
