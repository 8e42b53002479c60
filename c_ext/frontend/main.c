/* The command `shim`: the hot path of `shim exec` is C, everything else is Python. */
#include <errno.h>
#include <string.h>

#include "commands.h"
#include "message.h"
#include "python.h"

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (!strcmp(command, "exec"))
        command_exec(argv + 2);
    if (!strcmp(command, "_rank"))
        command_rank(argv + 2);
    if (!strcmp(command, "_agent"))
        command_agent(argv + 2);
    if (!strcmp(command, "_hold"))
        command_hold();
    python_exec("shim", argv + 1);
    die(EXIT_SHIM, "Cannot start %s: %s. Set SHIM_PYTHON to a Python interpreter that has shim "
                   "installed.", python_path(), strerror(errno));
}
