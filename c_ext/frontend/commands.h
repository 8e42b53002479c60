/* The subcommands that are C: each takes argv after its name and never returns. */
#ifndef SHIM_COMMANDS_H
#define SHIM_COMMANDS_H

/* `shim exec [OPTIONS] IMAGE COMMAND...` */
_Noreturn void command_exec(char **argv);

/* `shim _agent ARGUMENTS...`: the launcher's task of `shim run`, guard of its agent. */
_Noreturn void command_agent(char **argv);

/* `shim _rank --socket-fd N --rank R -- COMMAND...`: forked by the agent of `shim run`. */
_Noreturn void command_rank(char **argv);

/* `shim _hold`: keeps a container. */
_Noreturn void command_hold(void);

#endif
