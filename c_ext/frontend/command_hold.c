#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "commands.h"

/* Says once that the container is up, and then waits for the end of its standard input, a socket
 * whose other end is the agent's. It runs in any image, since this program is static and reaches
 * the container as an open file (/proc/self/fd/N). `scancel` signals every process of a step;
 * the container must outlive what its ranks do about that. */
void command_hold(void)
{
    char byte = 'R';
    prctl(PR_SET_NAME, "shim-keeper");
    for (int number = 1; number < SIGRTMIN; number++)
        signal(number, SIG_IGN);
    if (write(STDIN_FILENO, &byte, 1) != 1)
        _exit(1);
    for (;;) {
        ssize_t count = read(STDIN_FILENO, &byte, 1);
        if (count == 0 || (count < 0 && errno != EINTR))
            _exit(0);
    }
}
