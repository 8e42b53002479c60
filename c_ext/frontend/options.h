/* The command line of `shim exec`, read by the table of shim/option_table.py. */
#ifndef SHIM_OPTIONS_PARSE_H
#define SHIM_OPTIONS_PARSE_H

#include <stdbool.h>
#include <stddef.h>

struct exec_request {
    char **options;      /* options and image, as typed: what stands before the command */
    size_t option_count;
    char **command;      /* NULL-terminated, at least one word */
    bool help;
    bool no_pmix;        /* --no-pmix, or --pmix-mode=none */
    unsigned timeout;    /* seconds to wait for the container */
};

/* Reads argv after `shim exec`; does not return on a mistake of the user. */
void options_parse(char **argv, struct exec_request *request);

#endif
