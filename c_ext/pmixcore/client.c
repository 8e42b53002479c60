/* Outgoing calls towards whoever launched us. */
#include "pmixcore.h"

#include <stdlib.h>
#include <string.h>

/* client_init() -> (namespace, rank); blocks while libpmix connects. */
PyObject *py_client_init(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_CLIENT);
    PyObject *sequence;
    pmix_info_t *infos;
    size_t ninfos;
    pmix_proc_t proc;
    pmix_status_t status;

    if (library == NULL || !PyArg_ParseTuple(args, "O:client_init", &sequence) ||
        !infos_from_python(sequence, &infos, &ninfos)) {
        return NULL;
    }
    memset(&proc, 0, sizeof(proc));
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_Init(&proc, infos, ninfos);
    Py_END_ALLOW_THREADS
    infos_free(infos, ninfos);
    if (status != PMIX_SUCCESS) {
        return raise_status(status);
    }
    return proc_to_python(&proc);
}

PyObject *py_client_finalize(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(noargs))
{
    const struct library *library = library_of(ROLE_CLIENT);
    pmix_status_t status;

    if (library == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_Finalize(NULL, 0);
    Py_END_ALLOW_THREADS
    if (status != PMIX_SUCCESS) {
        return raise_status(status);
    }
    Py_RETURN_NONE;
}

/* launcher_init(infos) -> (namespace, rank): one library, client of the launcher and
 * server of the ranks (PMIX_LAUNCHER among infos makes it both). */
PyObject *py_launcher_init(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    union server_module module;
    PyObject *sequence;
    pmix_info_t *infos;
    size_t ninfos;
    pmix_proc_t proc;
    pmix_status_t status;

    if (library == NULL || !PyArg_ParseTuple(args, "O:launcher_init", &sequence)) {
        return NULL;
    }
    if (library->PMIx_tool_set_server_module == NULL) {
        PyErr_SetString(PyExc_NotImplementedError, "PMIx_tool_set_server_module is missing");
        return NULL;
    }
    if (!infos_from_python(sequence, &infos, &ninfos)) {
        return NULL;
    }
    memset(&proc, 0, sizeof(proc));
    upcalls_fill(&module);
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_tool_init(&proc, infos, ninfos);
    if (status == PMIX_SUCCESS) {
        status = library->PMIx_tool_set_server_module(&module.module);
    }
    Py_END_ALLOW_THREADS
    infos_free(infos, ninfos);
    if (status != PMIX_SUCCESS) {
        return raise_status(status);
    }
    requests_allow(true);
    return proc_to_python(&proc);
}

PyObject *py_launcher_finalize(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(noargs))
{
    const struct library *library = library_of(ROLE_SERVER);
    pmix_status_t status;

    if (library == NULL) {
        return NULL;
    }
    requests_allow(false);
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_tool_finalize();
    Py_END_ALLOW_THREADS
    if (status != PMIX_SUCCESS) {
        return raise_status(status);
    }
    Py_RETURN_NONE;
}

/* put(scope, key, type, data) */
PyObject *py_put(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_CLIENT);
    const char *key;
    PyObject *data;
    pmix_value_t value;
    pmix_status_t status;
    int scope, type;

    if (library == NULL || !PyArg_ParseTuple(args, "isiO:put", &scope, &key, &type, &data) ||
        !value_from_python(&value, (pmix_data_type_t)type, data)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_Put((pmix_scope_t)scope, key, &value);
    Py_END_ALLOW_THREADS
    value_free(&value);
    if (status != PMIX_SUCCESS) {
        return raise_status(status);
    }
    Py_RETURN_NONE;
}

PyObject *py_commit(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(noargs))
{
    const struct library *library = library_of(ROLE_CLIENT);
    pmix_status_t status;

    if (library == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_Commit();
    Py_END_ALLOW_THREADS
    if (status != PMIX_SUCCESS && status != PMIX_OPERATION_SUCCEEDED) {
        return raise_status(status);
    }
    Py_RETURN_NONE;
}

static void get_done(pmix_status_t status, pmix_value_t *value, void *cbdata)
{
    pending_complete(cbdata, status, NULL, 0, status == PMIX_SUCCESS ? value : NULL);
}

/* get(token, proc, key, infos); libpmix keeps the pointers of key and infos. */
PyObject *py_get(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_CLIENT);
    struct pending *pending;
    PyObject *sequence;
    pmix_proc_t proc;
    const char *key;
    unsigned long token;
    pmix_status_t status;

    if (library == NULL || !PyArg_ParseTuple(args, "kO&sO:get", &token, proc_from_python, &proc,
                                             &key, &sequence)) {
        return NULL;
    }
    pending = pending_new(ROLE_CLIENT, token);
    if (pending == NULL) {
        return NULL;
    }
    pending->proc = proc;
    pending->key = strdup(key);
    if (pending->key == NULL ||
        !infos_from_python(sequence, &pending->infos, &pending->ninfos)) {
        pending_free(pending);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_Get_nb(&pending->proc, pending->key, pending->infos, pending->ninfos,
                                  get_done, pending);
    Py_END_ALLOW_THREADS
    return pending_started(pending, status);
}

/* abort(status, message): of the whole namespace. */
PyObject *py_abort(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_CLIENT);
    const char *message;
    int code;
    pmix_status_t status;

    if (library == NULL || !PyArg_ParseTuple(args, "is:abort", &code, &message)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_Abort(code, message, NULL, 0);
    Py_END_ALLOW_THREADS
    if (status != PMIX_SUCCESS) {
        return raise_status(status);
    }
    Py_RETURN_NONE;
}
