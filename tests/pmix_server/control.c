/* Job control: rank 0 signals ranks of both nodes. */
#include "client.h"

#include <signal.h>

static volatile sig_atomic_t caught;

static void handle(int number)
{
    caught = number;
}

static pmix_status_t control(const char *key, int number, pmix_proc_t *target)
{
    pmix_info_t info, *results = NULL;
    size_t nresults = 0;

    memset(&info, 0, sizeof(info));
    strcpy(info.key, key);
    info.value.type = number == 0 ? PMIX_BOOL : PMIX_INT;
    if (number == 0) {
        info.value.data.flag = true;
    } else {
        info.value.data.integer = number;
    }
    return PMIx_Job_control(target, target == NULL ? 0 : 1, &info, 1, &results, &nresults);
}

static void wait_for(int number)
{
    for (int i = 0; i < 500 && caught != number; i++) {
        usleep(10000);
    }
    CHECK(caught == number, "caught %d, not %d", (int)caught, number);
}

int main(void)
{
    pmix_proc_t target, nobody;

    start();
    signal(SIGUSR1, handle);
    signal(SIGUSR2, handle);
    signal(SIGTERM, handle);
    fence_all(false);
    target = process(2);
    nobody = process(77);
    if (me.rank == 0) {
        OK(control(PMIX_JOB_CTRL_SIGNAL, SIGUSR1, &target));
        OK(control(PMIX_JOB_CTRL_PAUSE, 0, &target));
        OK(control(PMIX_JOB_CTRL_RESUME, 0, &target));
        GIVES(PMIX_ERR_NOT_FOUND, control(PMIX_JOB_CTRL_KILL, 0, &nobody));
        GIVES(PMIX_ERR_BAD_PARAM, control(PMIX_JOB_CTRL_SIGNAL, 4711, &target));
        GIVES(PMIX_ERR_NOT_SUPPORTED, control(PMIX_JOB_CTRL_CHECKPOINT_EVENT, 0, &target));
    } else if (me.rank == 2) {
        wait_for(SIGUSR1);
    }
    fence_all(false);
    target = process(PMIX_RANK_WILDCARD);
    if (me.rank == 0) {
        OK(control(PMIX_JOB_CTRL_SIGNAL, SIGUSR2, &target));
    }
    wait_for(SIGUSR2);
    fence_all(false);
    if (me.rank == 3) {
        target = process(1);
        OK(control(PMIX_JOB_CTRL_TERMINATE, 0, &target));
    } else if (me.rank == 1) {
        wait_for(SIGTERM);
    }
    fence_all(false);
    OK(PMIx_Finalize(NULL, 0));
    return 0;
}
