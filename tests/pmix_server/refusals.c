/* Calls that are not done here end at once with the standard's code, and many that wait do not
 * hold up each other. */
#include "client.h"

enum { MANY = 2000 };
static volatile int answered;

static void found(pmix_status_t status, pmix_pdata_t data[], size_t count, void *cbdata)
{
    (void)data;
    CHECK(status == PMIX_SUCCESS && count == 1, "lookup %zu: %d", (size_t)cbdata, status);
    answered++;
}

/* Thousands of lookups wait for a key that is published after all of them. */
static void many_wait(void)
{
    static pmix_info_t wait;
    char *keys[] = {"awaited", NULL};
    pmix_info_t info;

    strcpy(wait.key, PMIX_WAIT);
    wait.value.type = PMIX_INT;
    for (size_t i = 0; i < MANY; i++) {
        OK(PMIx_Lookup_nb(keys, &wait, 1, found, (void *)i));
    }
    fence_all(false); /* goes past them */
    CHECK(answered == 0, "%d lookups found what is not there", answered);
    memset(&info, 0, sizeof(info));
    strcpy(info.key, "awaited");
    info.value.type = PMIX_INT;
    fence_all(false);
    if (me.rank == 0) {
        OK(PMIx_Publish(&info, 1));
    }
    for (int i = 0; i < 1000 && answered < MANY; i++) {
        usleep(10000);
    }
    CHECK(answered == MANY, "%d of %d lookups were answered", answered, MANY);
}

int main(void)
{
    char *command[] = {"true", NULL};
    pmix_app_t app = {.cmd = "true", .argv = command, .maxprocs = 1};
    pmix_info_t info, *results = NULL;
    pmix_nspace_t spawned;
    size_t nresults = 0;

    start();
    memset(&info, 0, sizeof(info));
    strcpy(info.key, PMIX_ALLOC_NUM_NODES);
    info.value.type = PMIX_UINT64;
    info.value.data.uint64 = 1;
    GIVES(PMIX_ERR_NOT_SUPPORTED,
          PMIx_Allocation_request(PMIX_ALLOC_EXTEND, &info, 1, &results, &nresults));
    GIVES(PMIX_ERR_NOT_SUPPORTED, PMIx_Spawn(NULL, 0, &app, 1, spawned));
    many_wait();
    fence_all(false);
    OK(PMIx_Finalize(NULL, 0));
    return 0;
}
