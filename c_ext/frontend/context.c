#include "context.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Step ids from SLURM_MAX_NORMAL_STEP_ID on are the batch script, the external step and the like
 * (slurm.h): what runs in them is one process, not a task of a step. */
static const unsigned long MAX_NORMAL_STEP = 0xfffffff0ul;

/* The namespace that Slurm's plugin gives to a step is slurm.pmix.JOB.STEP (pmixp_info.c); any
 * other one comes from a launcher inside the step, such as prterun, whose ranks are its own. */
static const char SLURM_NAMESPACE[] = "slurm.pmix.";

static unsigned long number(const char *text, unsigned long otherwise)
{
    char *end;
    if (!text || !isdigit((unsigned char)*text))
        return otherwise;
    unsigned long value = strtoul(text, &end, 10);
    return *end ? otherwise : value;
}

static unsigned long variable(const char *name, unsigned long otherwise)
{
    return number(getenv(name), otherwise);
}

uint64_t context_hash(const char *text)
{
    uint64_t value = 0xcbf29ce484222325ull;
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * 0x100000001b3ull;
    return value;
}

/* Copies *text* as part of a file name; a changed or shortened one gets its hash appended. */
static void safe_name(char *out, size_t size, const char *text)
{
    size_t length = 0, keep = size - 18;
    bool changed = false;
    for (; text[length] && length < keep; length++) {
        unsigned char c = (unsigned char)text[length];
        bool plain = isalnum(c) || c == '-' || c == '_' || (c == '.' && length > 0);
        out[length] = plain ? (char)c : '_';
        changed |= !plain;
    }
    out[length] = '\0';
    if (changed || text[length])
        snprintf(out + length, size - length, "-%016llx", (unsigned long long)context_hash(text));
}

static void read_node(struct context *context, bool slurm)
{
    const char *name = slurm ? getenv("SLURMD_NODENAME") : NULL;
    char host[256] = "localhost";
    if (!name || !*name) {
        gethostname(host, sizeof host - 1);
        name = host;
    }
    safe_name(context->node, sizeof context->node, name);
}

static uint32_t lowest(const char *list, uint32_t otherwise)
{
    unsigned long least = otherwise;
    while (list && *list) {
        unsigned long value = strtoul(list, NULL, 10);
        if (value < least)
            least = value;
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return (uint32_t)least;
}

static void read_slurm(struct context *context)
{
    const char *job = getenv("SLURM_JOB_ID"), *step = getenv("SLURM_STEP_ID");
    char safe[64];
    context->launcher = LAUNCHER_SLURM;
    read_node(context, true);
    safe_name(safe, sizeof safe, job ? job : "0");
    snprintf(context->key, sizeof context->key, "%.60s.%.10s.%s", safe, step, context->node);
    snprintf(context->label, sizeof context->label, "step %.60s.%.10s", safe, step);
    context->rank = (uint32_t)variable("SLURM_PROCID", 0);
    context->identity = lowest(getenv("SLURM_GTIDS"), context->rank);
    context->tasks = variable("SLURM_STEP_NUM_TASKS", 1);
}

static void read_pmix(struct context *context, const char *nspace)
{
    context->launcher = LAUNCHER_PMIX;
    read_node(context, false);
    snprintf(context->key, sizeof context->key, "pmix-%016llx.%s",
             (unsigned long long)context_hash(nspace), context->node);
    snprintf(context->label, sizeof context->label, "PMIx namespace %.100s", nspace);
    context->rank = (uint32_t)variable("PMIX_RANK", 0);
    context->identity = context->rank;
}

static void read_none(struct context *context)
{
    unsigned long ranks = variable("PMI_SIZE", 1), ranks_ompi = variable("OMPI_COMM_WORLD_SIZE", 1);
    context->launcher = LAUNCHER_NONE;
    read_node(context, false);
    snprintf(context->key, sizeof context->key, "pid-%ld.%s", (long)getpid(), context->node);
    snprintf(context->label, sizeof context->label, "process %ld", (long)getpid());
    context->tasks = ranks > ranks_ompi ? ranks : ranks_ompi;
}

void context_read(struct context *context)
{
    const char *nspace = getenv("PMIX_NAMESPACE"), *step = getenv("SLURM_STEP_ID");
    bool slurm_step = step && getenv("SLURM_PROCID") && number(step, MAX_NORMAL_STEP) < MAX_NORMAL_STEP;
    *context = (struct context){.tasks = 1, .has_pmix = nspace && getenv("PMIX_RANK")};
    bool other_launcher = context->has_pmix && strncmp(nspace, SLURM_NAMESPACE, strlen(SLURM_NAMESPACE));
    if (slurm_step && !other_launcher)
        read_slurm(context);
    else if (context->has_pmix)
        read_pmix(context, nspace);
    else
        read_none(context);
}
