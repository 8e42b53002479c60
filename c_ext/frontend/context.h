/* Who launched us, from the environment. */
#ifndef SHIM_CONTEXT_H
#define SHIM_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

enum launcher { LAUNCHER_NONE, LAUNCHER_SLURM, LAUNCHER_PMIX };

struct context {
    enum launcher launcher;
    char key[160];          /* names the step on this node; a safe file name */
    char label[160];        /* the same for the user's eyes */
    char node[80];
    uint32_t rank;
    uint32_t identity;      /* the agent's PMIx rank: the lowest of this node under Slurm */
    unsigned long tasks;    /* of the whole step; 1 where unknown */
    bool has_pmix;
};

void context_read(struct context *context);
/* FNV-1a: only to keep apart texts that look the same once they are made safe as file names. */
uint64_t context_hash(const char *text);

#endif
