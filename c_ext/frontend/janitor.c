#define _GNU_SOURCE
#include "janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 100, LOOKS = 200, HIGHEST_FD = 4096 };

static void keep_only(const struct rendezvous *meeting, int end)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    for (int fd = STDERR_FILENO + 1; fd < HIGHEST_FD; fd++)
        if (fd != end && fd != meeting->dir && fd != meeting->user_dir)
            close(fd);
}

_Noreturn static void be_janitor(const struct rendezvous *meeting, int end)
{
    struct rendezvous own = *meeting;
    char byte;
    prctl(PR_SET_NAME, "shim-janitor");
    for (int number = 1; number < SIGRTMIN; number++)
        signal(number, SIG_IGN);
    keep_only(meeting, end);
    own.lock = -1;
    if (chdir("/"))
        _exit(1);
    while (read(end, &byte, 1) < 0 && errno == EINTR)
        continue;
    /* An agent that outlives its guard ends its ranks first. */
    for (int look = 0; look < LOOKS && !rendezvous_is_over(&own); look++) {
        rendezvous_remove(&own);
        poll(NULL, 0, LOOK_AGAIN_MS);
    }
    _exit(0);
}

void janitor_start(const struct rendezvous *meeting)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return;
    pid_t middle = fork();
    if (middle == 0) {
        setsid();
        close(ends[1]);
        if (fork() == 0)
            be_janitor(meeting, ends[0]);
        _exit(0);
    }
    close(ends[0]);
    while (middle > 0 && waitpid(middle, NULL, 0) < 0 && errno == EINTR)
        continue;
    /* ends[1] stays open until this process ends, whatever ends it. */
}
