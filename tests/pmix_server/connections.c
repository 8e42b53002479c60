/* PMIx_Connect and PMIx_Disconnect among four ranks of two nodes. */
#include "client.h"

static pmix_proc_t set[4];

static size_t of(uint32_t first, uint32_t second)
{
    set[0] = process(first);
    set[1] = process(second);
    return 2;
}

int main(void)
{
    pmix_proc_t all;

    start();
    all = process(PMIX_RANK_WILDCARD);
    OK(PMIx_Connect(&all, 1, NULL, 0));
    if (me.rank == 0 || me.rank == 2) {
        OK(PMIx_Connect(set, of(0, 2), NULL, 0));
        OK(PMIx_Disconnect(set, of(2, 0), NULL, 0));
        CHECK(PMIx_Disconnect(set, of(0, 2), NULL, 0) != PMIX_SUCCESS, "disconnected twice");
    }
    fence_all(false);
    OK(PMIx_Disconnect(&all, 1, NULL, 0));
    fence_all(false);
    OK(PMIx_Finalize(NULL, 0));
    return 0;
}
