/* What a rank is told about its job; rank 0 asks for all. */
#include "client.h"

static pmix_info_t *found;
static size_t nfound;

static pmix_status_t ask(const char *first, const char *second)
{
    char *keys[] = {(char *)first, (char *)second, NULL};
    pmix_info_t qualifier;
    pmix_query_t query = {.keys = keys, .qualifiers = &qualifier, .nqual = 1};

    memset(&qualifier, 0, sizeof(qualifier));
    strcpy(qualifier.key, PMIX_NSPACE);
    qualifier.value.type = PMIX_STRING;
    qualifier.value.data.string = me.nspace;
    found = NULL;
    nfound = 0;
    return PMIx_Query_info(&query, 1, &found, &nfound);
}

static const pmix_value_t *answer(const char *key)
{
    for (size_t i = 0; i < nfound; i++) {
        if (strcmp(found[i].key, key) == 0) {
            return &found[i].value;
        }
    }
    CHECK(false, "no %s in %zu answers", key, nfound);
    return NULL;
}

static void check_table(const char *key, size_t rows)
{
    const pmix_data_array_t *array;
    const pmix_proc_info_t *row;

    OK(ask(key, NULL));
    array = answer(key)->data.darray;
    CHECK(array->type == PMIX_PROC_INFO && array->size == rows, "%s has %zu rows", key, array->size);
    row = array->array;
    for (size_t i = 0; i < rows; i++) {
        const char *node = row[i].proc.rank % 3 == 0 ? "nodeA" : "nodeB";

        CHECK(strcmp(row[i].hostname, node) == 0, "%u on %s", row[i].proc.rank, row[i].hostname);
        CHECK(row[i].pid > 1 && row[i].state == PMIX_PROC_STATE_RUNNING, "pid %d state %d",
              row[i].pid, row[i].state);
        CHECK(row[i].proc.rank != me.rank || row[i].pid == getpid(), "my pid is not %d", row[i].pid);
    }
}

int main(void)
{
    start();
    fence_all(false);
    if (me.rank == 0) {
        OK(ask(PMIX_QUERY_NAMESPACES, PMIX_QUERY_NUM_GROUPS));
        CHECK(strcmp(answer(PMIX_QUERY_NAMESPACES)->data.string, me.nspace) == 0, "namespaces");
        CHECK(answer(PMIX_QUERY_NUM_GROUPS)->data.size == 0, "groups");
        check_table(PMIX_QUERY_PROC_TABLE, 4);
        check_table(PMIX_QUERY_LOCAL_PROC_TABLE, 2);
        OK(ask(PMIX_QUERY_NAMESPACE_INFO, PMIX_AVAIL_PHYS_MEMORY));
        CHECK(answer(PMIX_AVAIL_PHYS_MEMORY)->data.uint64 > 0, "memory");
        GIVES(PMIX_ERR_NOT_FOUND, ask("no.such.key", NULL));
        GIVES(PMIX_ERR_PARTIAL_SUCCESS, ask("no.such.key", PMIX_QUERY_NAMESPACES));
        if (strncmp(PMIx_Get_version(), "OpenPMIx 4", 10) != 0) { /* 4.2 drops partial answers */
            CHECK(strcmp(answer(PMIX_QUERY_NAMESPACES)->data.string, me.nspace) == 0, "partial");
        }
    }
    fence_all(false);
    OK(PMIx_Finalize(NULL, 0));
    return 0;
}
