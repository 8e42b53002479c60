#include "program.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void through_shell(const char *path, char **argv, char **env)
{
    size_t count = 0;
    while (argv[count])
        count++;
    char **shell = calloc(count + 2, sizeof *shell);
    if (!shell)
        return;
    shell[0] = "/bin/sh";
    shell[1] = (char *)path;
    if (count > 1)
        memcpy(shell + 2, argv + 1, (count - 1) * sizeof *shell);
    execve(shell[0], shell, env);
    free(shell);
}

static void try_path(const char *path, char **argv, char **env)
{
    execve(path, argv, env);
    if (errno == ENOEXEC)
        through_shell(path, argv, env);
}

static bool is_program(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISREG(info.st_mode);
}

void program_exec(char **argv, char **env, const char *search)
{
    int error = ENOENT;
    if (strchr(argv[0], '/')) {
        try_path(argv[0], argv, env);
        return;
    }
    for (const char *start = search ? search : ""; *start;) {
        size_t length = strcspn(start, ":");
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%.*s/%s", (int)length, length ? start : ".", argv[0]);
        if (is_program(path)) {
            try_path(path, argv, env);
            error = errno == ENOENT ? error : errno;
        }
        start += length + (start[length] == ':');
    }
    errno = error;
}
