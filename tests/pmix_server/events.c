/* Events among four ranks: 0 and 3 on one node, 1 and 2 on the other. */
#include "client.h"

enum { EVERYWHERE, CUSTOM, ON_THE_NODE, NAMESPACE, LATE, KINDS };
#define CODE(kind) (PMIX_EXTERNAL_ERR_BASE - 1 - (kind))

static volatile int seen[KINDS], by_default;

/* The event's own data must have come along, and its source. */
static void handle(size_t id, pmix_status_t code, const pmix_proc_t *source, pmix_info_t infos[],
                   size_t ninfos, pmix_info_t *results, size_t nresults,
                   pmix_event_notification_cbfunc_fn_t done, void *cbdata)
{
    bool data = false;

    (void)id, (void)results, (void)nresults;
    for (size_t i = 0; i < ninfos; i++) {
        data |= strcmp(infos[i].key, "test.data") == 0 &&
                strcmp(infos[i].value.data.string, "payload") == 0;
    }
    if (data && source->rank == 0 && code <= CODE(0) && code > CODE(KINDS)) {
        seen[CODE(0) - code]++;
    }
    done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, cbdata);
}

static void handle_by_default(size_t id, pmix_status_t code, const pmix_proc_t *source,
                              pmix_info_t infos[], size_t ninfos, pmix_info_t *results,
                              size_t nresults, pmix_event_notification_cbfunc_fn_t done,
                              void *cbdata)
{
    (void)id, (void)code, (void)source, (void)infos, (void)ninfos, (void)results, (void)nresults;
    by_default++;
    done(PMIX_EVENT_ACTION_COMPLETE, NULL, 0, NULL, NULL, cbdata);
}

static void listen_for(pmix_status_t *codes, size_t count, pmix_notification_fn_t handler)
{
    pmix_status_t rc = PMIx_Register_event_handler(codes, count, NULL, 0, handler, NULL, NULL);

    CHECK(rc >= 0, "registering: %d %s", rc, PMIx_Error_string(rc));
}

static void tell(int kind, pmix_data_range_t range, pmix_proc_t *target)
{
    pmix_data_array_t targets = {.type = PMIX_PROC, .size = 1, .array = target};
    pmix_info_t infos[3];

    memset(infos, 0, sizeof(infos));
    strcpy(infos[0].key, "test.data");
    infos[0].value.type = PMIX_STRING;
    infos[0].value.data.string = "payload";
    strcpy(infos[1].key, PMIX_EVENT_NON_DEFAULT);
    infos[1].value.type = PMIX_BOOL;
    infos[1].value.data.flag = true;
    strcpy(infos[2].key, PMIX_EVENT_CUSTOM_RANGE);
    infos[2].value.type = PMIX_DATA_ARRAY;
    infos[2].value.data.darray = &targets;
    OK(PMIx_Notify_event(CODE(kind), &me, range, infos, target == NULL ? 2 : 3, NULL, NULL));
}

static void wait_for(int kind)
{
    for (int i = 0; i < 500 && seen[kind] == 0; i++) {
        usleep(10000);
    }
}

static void check(int kind, bool expected)
{
    CHECK(seen[kind] == (expected ? 1 : 0), "event %d was seen %d times", kind, seen[kind]);
}

int main(void)
{
    pmix_status_t codes[] = {CODE(EVERYWHERE), CODE(CUSTOM), CODE(ON_THE_NODE), CODE(NAMESPACE)};
    pmix_status_t late = CODE(LATE);
    pmix_proc_t target;

    start();
    listen_for(codes, 4, handle);
    if (me.rank == 2) {
        listen_for(NULL, 0, handle_by_default);
    }
    fence_all(false);
    if (me.rank == 0) {
        target = process(1);
        tell(CUSTOM, PMIX_RANGE_CUSTOM, &target);
        tell(ON_THE_NODE, PMIX_RANGE_LOCAL, NULL);
        tell(NAMESPACE, PMIX_RANGE_NAMESPACE, NULL);
        tell(LATE, PMIX_RANGE_SESSION, NULL);
        tell(EVERYWHERE, PMIX_RANGE_GLOBAL, NULL);
    }
    wait_for(EVERYWHERE); /* the last: between two nodes messages keep their order */
    fence_all(false);
    if (me.rank != 0) { /* its own events a rank sees at once, in its own library */
        check(EVERYWHERE, true);
        check(NAMESPACE, true);
        check(CUSTOM, me.rank == 1);
        check(ON_THE_NODE, me.rank == 3);
        listen_for(&late, 1, handle);
        wait_for(LATE);
        check(LATE, true);
    }
    CHECK(by_default == 0, "the default handler was called %d times", by_default);
    fence_all(false);
    OK(PMIx_Finalize(NULL, 0));
    return 0;
}
