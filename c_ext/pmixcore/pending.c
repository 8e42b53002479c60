/* Outgoing calls under way: what libpmix still reads, and how their end reaches Python. */
#include "pmixcore.h"

#include <stdlib.h>

struct pending *pending_new(enum role role, unsigned long token)
{
    struct pending *pending = calloc(1, sizeof(*pending));

    if (pending == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    pending->role = role;
    pending->token = token;
    return pending;
}

void pending_free(struct pending *pending)
{
    infos_free(pending->infos, pending->ninfos);
    free(pending->key);
    free(pending);
}

void pending_complete(struct pending *pending, int status, const char *data, size_t ndata,
                      const pmix_value_t *value)
{
    struct record *record = record_new("completion");

    if (record != NULL) {
        record->completion = true;
        record->token = pending->token;
        record->status = status;
        if (!record_set_data(record, data, ndata) ||
            (value != NULL && !value_copy(&record->value, value))) {
            record->status = PMIX_ERR_NOMEM;
        }
        queue_push(pending->role, record);
    }
    pending_free(pending);
}

void pending_op_done(pmix_status_t status, void *cbdata)
{
    pending_complete(cbdata, status, NULL, 0, NULL);
}

PyObject *pending_started(struct pending *pending, pmix_status_t status)
{
    if (status == PMIX_SUCCESS) {
        Py_RETURN_NONE;
    }
    if (status == PMIX_OPERATION_SUCCEEDED) { /* done at once: no callback will come */
        pending_complete(pending, PMIX_SUCCESS, NULL, 0, NULL);
        Py_RETURN_NONE;
    }
    pending_free(pending);
    return raise_status(status);
}
