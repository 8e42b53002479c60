/* What the test programs share: they are PMIx clients in plain C that exit with 0 when all that
 * they saw was right, and say on stderr what was not. */
#ifndef CLIENT_H
#define CLIENT_H

#include <pmix.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pmix_proc_t me;
static uint32_t size;

#define CHECK(condition, ...)                                                            \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "rank %u line %d: ", me.rank, __LINE__);                     \
            fprintf(stderr, __VA_ARGS__);                                                \
            fputc('\n', stderr);                                                         \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)
#define OK(call)                                                                         \
    do {                                                                                 \
        pmix_status_t rc_ = (call);                                                      \
        CHECK(rc_ == PMIX_SUCCESS || rc_ == PMIX_OPERATION_SUCCEEDED, "%s: %d %s", #call, rc_, \
              PMIx_Error_string(rc_));                                                   \
    } while (0)
/* The call must give this status. */
#define GIVES(status, call)                                                              \
    do {                                                                                 \
        pmix_status_t rc_ = (call);                                                      \
        CHECK(rc_ == (status), "%s: %d %s, not %s", #call, rc_, PMIx_Error_string(rc_), #status); \
    } while (0)

static inline pmix_proc_t process(uint32_t rank)
{
    pmix_proc_t proc;

    memset(&proc, 0, sizeof(proc));
    memcpy(proc.nspace, me.nspace, sizeof(proc.nspace));
    proc.rank = rank;
    return proc;
}

static inline pmix_value_t *get(uint32_t rank, const char *key)
{
    pmix_proc_t proc = process(rank);
    pmix_value_t *value = NULL;
    pmix_status_t rc = PMIx_Get(&proc, key, NULL, 0, &value);

    CHECK(rc == PMIX_SUCCESS, "get %s of %u: %s", key, rank, PMIx_Error_string(rc));
    return value;
}

static inline pmix_status_t fence(const pmix_proc_t *procs, size_t nprocs, bool collect, int timeout)
{
    pmix_info_t info[2];
    size_t ninfo = 0;

    memset(info, 0, sizeof(info));
    if (collect) {
        strcpy(info[ninfo].key, PMIX_COLLECT_DATA);
        info[ninfo].value.type = PMIX_BOOL;
        info[ninfo++].value.data.flag = true;
    }
    if (timeout > 0) {
        strcpy(info[ninfo].key, PMIX_TIMEOUT);
        info[ninfo].value.type = PMIX_INT;
        info[ninfo++].value.data.integer = timeout;
    }
    return PMIx_Fence(procs, nprocs, info, ninfo);
}

static inline void fence_all(bool collect)
{
    pmix_proc_t all = process(PMIX_RANK_WILDCARD);

    OK(fence(&all, 1, collect, 0));
}

/* Call PMIx_Init and learn how many ranks there are. */
static inline void start(void)
{
    OK(PMIx_Init(&me, NULL, 0));
    size = get(PMIX_RANK_WILDCARD, PMIX_JOB_SIZE)->data.uint32;
}

#endif
