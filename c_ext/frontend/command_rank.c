#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "message.h"
#include "rank.h"

_Noreturn static void misused(void)
{
    die(EXIT_SHIM, "`shim _rank` is started by the agent only. Use `shim run` or `shim exec`.");
}

void command_rank(char **argv)
{
    struct rank_order order = {.socket = -1};
    while (*argv && strcmp(*argv, "--")) {
        if (!argv[1])
            misused();
        if (!strcmp(*argv, "--socket-fd"))
            order.socket = atoi(argv[1]);
        else if (!strcmp(*argv, "--rank"))
            order.rank = (uint32_t)strtoul(argv[1], NULL, 10);
        else
            misused();
        argv += 2;
    }
    if (!*argv || !argv[1] || order.socket < 0)
        misused();
    order.command = argv + 1;
    rank_run(&order);
    exit(EXIT_SHIM);
}
