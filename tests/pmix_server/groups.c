/* Process groups of ranks of two nodes: construct with a context number, destruct. */
#include "client.h"

static size_t construct(const char *name, pmix_proc_t *procs, size_t count, bool numbered)
{
    pmix_info_t info, *results = NULL;
    size_t nresults = 0, context = 0;

    memset(&info, 0, sizeof(info));
    strcpy(info.key, PMIX_GROUP_ASSIGN_CONTEXT_ID);
    info.value.type = PMIX_BOOL;
    info.value.data.flag = true;
    OK(PMIx_Group_construct(name, procs, count, &info, numbered ? 1 : 0, &results, &nresults));
    for (size_t i = 0; i < nresults; i++) {
        if (strcmp(results[i].key, PMIX_GROUP_CONTEXT_ID) == 0) {
            context = results[i].value.data.size;
        }
    }
    return context;
}

/* Everybody tells its number, so that all can compare. */
static void tell(const char *key, size_t context)
{
    pmix_value_t value;

    memset(&value, 0, sizeof(value));
    value.type = PMIX_SIZE;
    value.data.size = context;
    OK(PMIx_Put(PMIX_GLOBAL, key, &value));
}

int main(void)
{
    pmix_proc_t all[4], two[2];
    size_t first, second;

    start();
    for (uint32_t rank = 0; rank < 4; rank++) {
        all[rank] = process(rank);
    }
    two[0] = process(0);
    two[1] = process(1);
    first = construct("all", all, 4, true);
    second = construct("again", all, 4, true);
    CHECK(first != 0 && second != 0 && first != second, "numbers %zu and %zu", first, second);
    tell("first", first);
    tell("second", second);
    OK(PMIx_Commit());
    fence_all(true);
    CHECK(get(3 - me.rank, "first")->data.size == first, "the number differs");
    CHECK(get(3 - me.rank, "second")->data.size == second, "the number differs");
    if (me.rank < 2) {
        construct("two", two, 2, false);
        OK(PMIx_Group_destruct("two", NULL, 0));
    }
    /* On one node only: 0 and 3 are, and so are 1 and 2. */
    two[0] = me;
    two[1] = process(3 - me.rank);
    construct(me.rank % 3 == 0 ? "here" : "there", two, 2, false);
    OK(PMIx_Group_destruct(me.rank % 3 == 0 ? "here" : "there", NULL, 0));
    OK(PMIx_Group_destruct("again", NULL, 0));
    OK(PMIx_Group_destruct("all", NULL, 0));
    fence_all(false);
    OK(PMIx_Finalize(NULL, 0));
    return 0;
}
