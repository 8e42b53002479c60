/* An MPI program that does what its words say, one after the other:
 *
 *   init barrier finalize     the MPI calls of these names
 *   exit:CODE kill:SIGNAL abort:CODE
 *   sleep:SECONDS stop        wait; for ever
 *   ready                     rank 0 prints "ready"
 *   say:TEXT                  prints "RANK TEXT"
 *   trap:SECONDS              from now on SIGTERM means: clean up for so long, say so, exit 0
 *   count                     from now on SIGUSR1 means: say so
 *   counted:SECONDS           wait until it came, at most so long
 *   child                     go on in a forked child, and end as it ends
 *   input                     prints what standard input holds
 *
 * WORD@RANK is for one rank only. Ranks are those of the launcher until MPI is initialised. */
#define _GNU_SOURCE
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double cleaning;

static void wait_for(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left))
        continue;
}

static void clean_up(int number)
{
    (void)number;
    wait_for(cleaning);
    if (write(STDOUT_FILENO, "cleaned\n", 8) != 8)
        _exit(1);
    _exit(0);
}

static volatile sig_atomic_t told;

static void tell(int number)
{
    (void)number;
    told = 1;
    if (write(STDOUT_FILENO, "signal\n", 7) != 7)
        _exit(1);
}

/* MPI's number once there was one: after MPI_Finalize nobody may ask. */
static int number_of(void)
{
    static int known = -1;
    int on = 0, off = 0;
    MPI_Initialized(&on);
    MPI_Finalized(&off);
    if (on && !off)
        MPI_Comm_rank(MPI_COMM_WORLD, &known);
    if (known >= 0)
        return known;
    const char *rank = getenv("PMIX_RANK") ? getenv("PMIX_RANK") : getenv("SLURM_PROCID");
    return rank ? atoi(rank) : 0;
}

static void go_on_in_child(void)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        return;
    waitpid(child, &status, 0);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void copy_input(void)
{
    char text[256];
    while (fgets(text, sizeof text, stdin))
        printf("%d read %s", number_of(), text);
    fflush(stdout);
}

static void obey(const char *word, const char *value)
{
    if (!strcmp(word, "init"))
        MPI_Init(NULL, NULL);
    else if (!strcmp(word, "barrier"))
        MPI_Barrier(MPI_COMM_WORLD);
    else if (!strcmp(word, "finalize"))
        MPI_Finalize();
    else if (!strcmp(word, "exit"))
        exit(atoi(value));
    else if (!strcmp(word, "kill"))
        kill(getpid(), atoi(value));
    else if (!strcmp(word, "abort"))
        MPI_Abort(MPI_COMM_WORLD, atoi(value));
    else if (!strcmp(word, "counted"))
        for (double left = atof(value); left > 0 && !told; left -= 0.05)
            wait_for(0.05);
    else if (!strcmp(word, "sleep"))
        wait_for(atof(value));
    else if (!strcmp(word, "stop"))
        for (;;)
            wait_for(3600);
    else if (!strcmp(word, "ready") && number_of() == 0)
        puts("ready");
    else if (!strcmp(word, "say"))
        printf("%d %s\n", number_of(), value);
    else if (!strcmp(word, "trap")) {
        cleaning = atof(value);
        signal(SIGTERM, clean_up);
    } else if (!strcmp(word, "count"))
        signal(SIGUSR1, tell);
    else if (!strcmp(word, "child"))
        go_on_in_child();
    else if (!strcmp(word, "input"))
        copy_input();
    fflush(stdout);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char word[256], *at, *value = "";
        snprintf(word, sizeof word, "%s", argv[i]);
        number_of();
        if ((at = strchr(word, '@')) && (*at = '\0', atoi(at + 1) != number_of()))
            continue;
        if ((at = strchr(word, ':')))
            *at = '\0', value = at + 1;
        obey(word, value);
    }
    return 0;
}
