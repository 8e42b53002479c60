#include "python.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SHIM_PYTHON_DEFAULT
#define SHIM_PYTHON_DEFAULT ""
#endif

/* A virtual environment keeps `shim` and its interpreter in one directory. */
static const char *beside_us(void)
{
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof "python3");
    if (length <= 0)
        return NULL;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    strcpy(slash + 1, "python3");
    return access(path, X_OK) ? NULL : path;
}

const char *python_path(void)
{
    const char *chosen = getenv("SHIM_PYTHON");
    if (chosen && *chosen)
        return chosen;
    chosen = beside_us();
    if (chosen)
        return chosen;
    return access(SHIM_PYTHON_DEFAULT, X_OK) ? "python3" : SHIM_PYTHON_DEFAULT;
}

void python_exec(const char *module, char *const *arguments)
{
    size_t count = 0;
    while (arguments[count])
        count++;
    char **argv = calloc(count + 6, sizeof *argv);
    if (!argv)
        return;
    const char *path = python_path();
    /* -E and -P: neither PYTHONPATH, meant for the program in the container, nor a module of the
     * working directory may replace ours. */
    const char *start[] = {path, "-E", "-P", "-m", module};
    memcpy(argv, start, sizeof start);
    memcpy(argv + 5, arguments, count * sizeof *argv);
    execvp(path, argv);
    free(argv);
}
