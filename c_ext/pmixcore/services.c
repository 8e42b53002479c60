/* Upcalls that are answered by the services of the whole job; see upcalls.c for the rules. */
#include "pmixcore.h"

#include <stdlib.h>
#include <string.h>

/* A request of source that is answered with a status only. */
static struct record *op_request(const char *kind, const pmix_proc_t *source,
                                 pmix_op_cbfunc_t callback, void *cbdata)
{
    struct record *record = record_new(kind);

    if (record != NULL) {
        if (source != NULL) {
            record->source = *source;
        }
        record->answer = ANSWER_OP;
        record->callback.op = callback;
        record->cbdata = cbdata;
    }
    return record;
}

/* A request of source that is answered with infos. */
static struct record *info_request(const char *kind, const pmix_proc_t *source,
                                   pmix_info_cbfunc_t callback, void *cbdata)
{
    struct record *record = op_request(kind, source, NULL, cbdata);

    if (record != NULL) {
        record->answer = ANSWER_INFO;
        record->callback.info = callback;
    }
    return record;
}

static pmix_status_t publish(const pmix_proc_t *proc, const pmix_info_t infos[], size_t ninfos,
                             pmix_op_cbfunc_t callback, void *cbdata)
{
    struct record *record = op_request("publish", proc, callback, cbdata);

    return record == NULL ? PMIX_ERR_NOMEM
                          : hand_over(record, record_set_infos(record, infos, ninfos));
}

static pmix_status_t lookup(const pmix_proc_t *proc, char **keys, const pmix_info_t infos[],
                            size_t ninfos, pmix_lookup_cbfunc_t callback, void *cbdata)
{
    struct record *record = op_request("lookup", proc, NULL, cbdata);

    if (record == NULL) {
        return PMIX_ERR_NOMEM;
    }
    record->answer = ANSWER_LOOKUP;
    record->callback.lookup = callback;
    return hand_over(record, record_set_keys(record, keys) &&
                                 record_set_infos(record, infos, ninfos));
}

static pmix_status_t unpublish(const pmix_proc_t *proc, char **keys, const pmix_info_t infos[],
                               size_t ninfos, pmix_op_cbfunc_t callback, void *cbdata)
{
    struct record *record = op_request("unpublish", proc, callback, cbdata);

    return record == NULL ? PMIX_ERR_NOMEM
                          : hand_over(record, record_set_keys(record, keys) &&
                                                  record_set_infos(record, infos, ninfos));
}

static pmix_status_t connect_procs(const pmix_proc_t procs[], size_t nprocs,
                                   const pmix_info_t infos[], size_t ninfos,
                                   pmix_op_cbfunc_t callback, void *cbdata)
{
    struct record *record = op_request("connect", NULL, callback, cbdata);

    return record == NULL ? PMIX_ERR_NOMEM
                          : hand_over(record, record_set_procs(record, procs, nprocs) &&
                                                  record_set_infos(record, infos, ninfos));
}

static pmix_status_t disconnect_procs(const pmix_proc_t procs[], size_t nprocs,
                                      const pmix_info_t infos[], size_t ninfos,
                                      pmix_op_cbfunc_t callback, void *cbdata)
{
    struct record *record = op_request("disconnect", NULL, callback, cbdata);

    return record == NULL ? PMIX_ERR_NOMEM
                          : hand_over(record, record_set_procs(record, procs, nprocs) &&
                                                  record_set_infos(record, infos, ninfos));
}

/* Every event of the job reaches every server anyway (notify_event), so there is nothing to
 * subscribe to. */
static pmix_status_t register_events(pmix_status_t *codes, size_t ncodes,
                                     const pmix_info_t infos[], size_t ninfos,
                                     pmix_op_cbfunc_t callback, void *cbdata)
{
    (void)codes, (void)ncodes, (void)infos, (void)ninfos, (void)callback, (void)cbdata;
    return PMIX_OPERATION_SUCCEEDED;
}

static pmix_status_t deregister_events(pmix_status_t *codes, size_t ncodes,
                                       pmix_op_cbfunc_t callback, void *cbdata)
{
    (void)codes, (void)ncodes, (void)callback, (void)cbdata;
    return PMIX_OPERATION_SUCCEEDED;
}

/* Answered at once, never by the callback: 4.2.2 frees what the callback works on as soon
 * as the upcall returns (pmix_prm_base_notify takes PMIX_SUCCESS for an error). */
static pmix_status_t notify_event(pmix_status_t code, const pmix_proc_t *source,
                                  pmix_data_range_t range, pmix_info_t infos[], size_t ninfos,
                                  pmix_op_cbfunc_t callback, void *cbdata)
{
    struct record *record = op_request("notify_event", source, callback, cbdata);
    pmix_status_t status;

    if (record == NULL) {
        return PMIX_ERR_NOMEM;
    }
    record->answer = ANSWER_NONE;
    record->status = code;
    record->number = range;
    status = hand_over(record, record_set_infos(record, infos, ninfos));
    return status == PMIX_SUCCESS ? PMIX_OPERATION_SUCCEEDED : status;
}

static pmix_status_t query(pmix_proc_t *source, pmix_query_t *queries, size_t nqueries,
                           pmix_info_cbfunc_t callback, void *cbdata)
{
    struct record *record = info_request("query", source, callback, cbdata);

    if (record == NULL) {
        return PMIX_ERR_NOMEM;
    }
    record->queries = queries_copy(queries, nqueries);
    record->nqueries = record->queries == NULL ? 0 : nqueries;
    return hand_over(record, record->queries != NULL);
}

static pmix_status_t job_control(const pmix_proc_t *requestor, const pmix_proc_t targets[],
                                 size_t ntargets, const pmix_info_t directives[], size_t ndirs,
                                 pmix_info_cbfunc_t callback, void *cbdata)
{
    struct record *record = info_request("job_control", requestor, callback, cbdata);

    return record == NULL ? PMIX_ERR_NOMEM
                          : hand_over(record, record_set_procs(record, targets, ntargets) &&
                                                  record_set_infos(record, directives, ndirs));
}

static pmix_status_t allocate(const pmix_proc_t *client, pmix_alloc_directive_t directive,
                              const pmix_info_t data[], size_t ndata, pmix_info_cbfunc_t callback,
                              void *cbdata)
{
    struct record *record = info_request("allocate", client, callback, cbdata);

    if (record == NULL) {
        return PMIX_ERR_NOMEM;
    }
    record->number = directive;
    return hand_over(record, record_set_infos(record, data, ndata));
}

/* PMIX_GROUP_LOCAL_ONLY: libpmix only tells us of the operation. */
static bool is_local(const pmix_info_t directives[], size_t ndirs)
{
    for (size_t i = 0; i < ndirs; i++) {
        if (strcmp(directives[i].key, PMIX_GROUP_LOCAL_ONLY) == 0) {
            return directives[i].value.type != PMIX_BOOL || directives[i].value.data.flag;
        }
    }
    return false;
}

/* The end of a local group is acknowledged at once: 5.0 asks twice if it has to wait, and
 * then works on what the first answer has freed (pmix_server_grpdestruct). */
static pmix_status_t group(pmix_group_operation_t operation, char name[], const pmix_proc_t procs[],
                           size_t nprocs, const pmix_info_t directives[], size_t ndirs,
                           pmix_info_cbfunc_t callback, void *cbdata)
{
    struct record *record = info_request("group", NULL, callback, cbdata);
    bool told = operation == PMIX_GROUP_DESTRUCT && is_local(directives, ndirs);
    pmix_status_t status;

    if (record == NULL) {
        return PMIX_ERR_NOMEM;
    }
    if (told) {
        record->answer = ANSWER_NONE;
    }
    record->number = operation == PMIX_GROUP_CONSTRUCT;
    record->text = strdup(name == NULL ? "" : name);
    status = hand_over(record, record->text != NULL && record_set_procs(record, procs, nprocs) &&
                                   record_set_infos(record, directives, ndirs));
    return told && status == PMIX_SUCCESS ? PMIX_OPERATION_SUCCEEDED : status;
}

void upcalls_fill_services(pmix_server_module_t *module)
{
    module->publish = publish;
    module->lookup = lookup;
    module->unpublish = unpublish;
    module->connect = connect_procs;
    module->disconnect = disconnect_procs;
    module->register_events = register_events;
    module->deregister_events = deregister_events;
    module->notify_event = notify_event;
    module->query = query;
    module->job_control = job_control;
    module->allocate = allocate;
    module->group = group;
}
