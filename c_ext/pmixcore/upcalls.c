/* The server module: what libpmix calls on its progress thread.
 *
 * Arguments belong to libpmix and may vanish after the callback, so each upcall copies
 * them. PMIX_SUCCESS promises exactly one callback; another status forbids it. Entries
 * left NULL are answered by libpmix itself with PMIX_ERR_NOT_SUPPORTED. */
#include "pmixcore.h"

#include <stdlib.h>
#include <string.h>

pmix_status_t hand_over(struct record *record, bool complete)
{
    if (!complete) {
        record_free(record);
        return PMIX_ERR_NOMEM;
    }
    queue_push(ROLE_SERVER, record);
    return PMIX_SUCCESS;
}

/* News that need no answer. The callback, where there is one, is called at once: from
 * 5.0.8 on the rank is held in PMIx_Init until then. */
static pmix_status_t notice(const char *kind, const pmix_proc_t *proc, pmix_op_cbfunc_t callback,
                            void *cbdata)
{
    struct record *record = record_new(kind);

    if (record != NULL) {
        record->source = *proc;
        record->answer = ANSWER_NONE;
        queue_push(ROLE_SERVER, record);
    }
    if (callback != NULL) {
        callback(PMIX_SUCCESS, cbdata);
    }
    return PMIX_SUCCESS;
}

static pmix_status_t client_connected(const pmix_proc_t *proc, void *object,
                                      pmix_op_cbfunc_t callback, void *cbdata)
{
    (void)object;
    return notice("client_connected", proc, callback, cbdata);
}

static pmix_status_t client_connected2(const pmix_proc_t *proc, void *object, pmix_info_t infos[],
                                       size_t ninfos, pmix_op_cbfunc_t callback, void *cbdata)
{
    (void)object;
    (void)infos;
    (void)ninfos;
    return notice("client_connected", proc, callback, cbdata);
}

static pmix_status_t client_finalized(const pmix_proc_t *proc, void *object,
                                      pmix_op_cbfunc_t callback, void *cbdata)
{
    (void)object;
    return notice("client_finalized", proc, callback, cbdata);
}

static pmix_status_t client_abort(const pmix_proc_t *proc, void *object, int status,
                                  const char message[], pmix_proc_t procs[], size_t nprocs,
                                  pmix_op_cbfunc_t callback, void *cbdata)
{
    struct record *record = record_new("abort");

    (void)object;
    if (record == NULL) {
        return PMIX_ERR_NOMEM;
    }
    record->source = *proc;
    record->status = status;
    record->text = message == NULL ? NULL : strdup(message);
    record->answer = ANSWER_OP;
    record->callback.op = callback;
    record->cbdata = cbdata;
    return hand_over(record, record_set_procs(record, procs, nprocs));
}

/* data is ours to free, unlike every other argument. */
static pmix_status_t fence(const pmix_proc_t procs[], size_t nprocs, const pmix_info_t infos[],
                           size_t ninfos, char *data, size_t ndata, pmix_modex_cbfunc_t callback,
                           void *cbdata)
{
    struct record *record = record_new("fence");

    if (record == NULL) {
        return PMIX_ERR_NOMEM;
    }
    record->answer = ANSWER_MODEX;
    record->callback.modex = callback;
    record->cbdata = cbdata;
    if (!record_set_procs(record, procs, nprocs) || !record_set_infos(record, infos, ninfos)) {
        record_free(record);
        return PMIX_ERR_NOMEM;
    }
    record->data = data;
    record->ndata = data == NULL ? 0 : ndata;
    return hand_over(record, true);
}

static pmix_status_t direct_modex(const pmix_proc_t *proc, const pmix_info_t infos[],
                                  size_t ninfos, pmix_modex_cbfunc_t callback, void *cbdata)
{
    struct record *record = record_new("direct_modex");

    if (record == NULL) {
        return PMIX_ERR_NOMEM;
    }
    record->source = *proc;
    record->answer = ANSWER_MODEX;
    record->callback.modex = callback;
    record->cbdata = cbdata;
    return hand_over(record, record_set_infos(record, infos, ninfos));
}

void upcalls_fill(union server_module *module)
{
    memset(module, 0, sizeof(*module));
    module->module.client_connected = client_connected;
    module->module.client_connected2 = client_connected2;
    module->module.client_finalized = client_finalized;
    module->module.abort = client_abort;
    module->module.fence_nb = fence;
    module->module.direct_modex = direct_modex;
    upcalls_fill_services(&module->module);
}
