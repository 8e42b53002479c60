/* Outgoing calls of the server. */
#include "pmixcore.h"

#include <stdlib.h>
#include <string.h>

/* server_init(infos): blocks until libpmix listens (tens of ms: it reads the topology). */
PyObject *py_server_init(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    union server_module module;
    PyObject *sequence;
    pmix_info_t *infos;
    size_t ninfos;
    pmix_status_t status;

    if (library == NULL || !PyArg_ParseTuple(args, "O:server_init", &sequence) ||
        !infos_from_python(sequence, &infos, &ninfos)) {
        return NULL;
    }
    upcalls_fill(&module);
    requests_allow(true);
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_server_init(&module.module, infos, ninfos);
    Py_END_ALLOW_THREADS
    infos_free(infos, ninfos);
    if (status != PMIX_SUCCESS) {
        requests_allow(false);
        return raise_status(status);
    }
    Py_RETURN_NONE;
}

/* server_finalize(): requests that are still open are never called back after this. */
PyObject *py_server_finalize(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(noargs))
{
    const struct library *library = library_of(ROLE_SERVER);
    pmix_status_t status;

    if (library == NULL) {
        return NULL;
    }
    requests_allow(false);
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_server_finalize();
    Py_END_ALLOW_THREADS
    if (status != PMIX_SUCCESS) {
        return raise_status(status);
    }
    Py_RETURN_NONE;
}

/* register_nspace(token, nspace, local_count, infos) */
PyObject *py_register_nspace(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    struct pending *pending;
    PyObject *sequence;
    const char *nspace;
    unsigned long token;
    int local_count;
    pmix_status_t status;

    if (library == NULL || !PyArg_ParseTuple(args, "ksiO:register_nspace", &token, &nspace,
                                             &local_count, &sequence)) {
        return NULL;
    }
    pending = pending_new(ROLE_SERVER, token);
    if (pending == NULL) {
        return NULL;
    }
    if (!infos_from_python(sequence, &pending->infos, &pending->ninfos)) {
        pending_free(pending);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_server_register_nspace(nspace, local_count, pending->infos,
                                                  pending->ninfos, pending_op_done, pending);
    Py_END_ALLOW_THREADS
    return pending_started(pending, status);
}

/* deregister_nspace(token, nspace) */
PyObject *py_deregister_nspace(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    struct pending *pending;
    const char *nspace;
    unsigned long token;

    if (library == NULL || !PyArg_ParseTuple(args, "ks:deregister_nspace", &token, &nspace)) {
        return NULL;
    }
    pending = pending_new(ROLE_SERVER, token);
    if (pending == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    library->PMIx_server_deregister_nspace(nspace, pending_op_done, pending);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* register_client(token, proc, uid, gid): uid and gid as the rank itself sees them. */
PyObject *py_register_client(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    struct pending *pending;
    pmix_proc_t proc;
    unsigned long token;
    unsigned uid, gid;
    pmix_status_t status;

    if (library == NULL || !PyArg_ParseTuple(args, "kO&II:register_client", &token,
                                             proc_from_python, &proc, &uid, &gid)) {
        return NULL;
    }
    pending = pending_new(ROLE_SERVER, token);
    if (pending == NULL) {
        return NULL;
    }
    pending->proc = proc;
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_server_register_client(&pending->proc, uid, gid, NULL, pending_op_done,
                                                  pending);
    Py_END_ALLOW_THREADS
    return pending_started(pending, status);
}

/* deregister_client(token, proc) */
PyObject *py_deregister_client(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    struct pending *pending;
    pmix_proc_t proc;
    unsigned long token;

    if (library == NULL || !PyArg_ParseTuple(args, "kO&:deregister_client", &token,
                                             proc_from_python, &proc)) {
        return NULL;
    }
    pending = pending_new(ROLE_SERVER, token);
    if (pending == NULL) {
        return NULL;
    }
    pending->proc = proc;
    Py_BEGIN_ALLOW_THREADS
    library->PMIx_server_deregister_client(&pending->proc, pending_op_done, pending);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* List of "NAME=value" from an argv-style array, which is freed. */
static PyObject *take_environment(char **environment)
{
    PyObject *list = PyList_New(0);

    for (char **entry = environment; entry != NULL && *entry != NULL; entry++) {
        PyObject *text = list == NULL ? NULL : PyUnicode_DecodeFSDefault(*entry);

        if (text == NULL || PyList_Append(list, text) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(text);
        free(*entry);
    }
    free(environment);
    return list;
}

/* setup_fork(proc) -> ["NAME=value", …] */
PyObject *py_setup_fork(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    char **environment = NULL;
    pmix_proc_t proc;
    pmix_status_t status;
    PyObject *list;

    if (library == NULL || !PyArg_ParseTuple(args, "O&:setup_fork", proc_from_python, &proc)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_server_setup_fork(&proc, &environment);
    Py_END_ALLOW_THREADS
    list = take_environment(environment);
    if (status != PMIX_SUCCESS) {
        Py_XDECREF(list);
        return raise_status(status);
    }
    return list;
}

static void dmodex_done(pmix_status_t status, char *data, size_t size, void *cbdata)
{
    pending_complete(cbdata, status, data, size, NULL);
}

/* dmodex_request(token, proc): libpmix holds it until the local rank has committed. */
PyObject *py_dmodex_request(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    struct pending *pending;
    pmix_proc_t proc;
    unsigned long token;
    pmix_status_t status;

    if (library == NULL ||
        !PyArg_ParseTuple(args, "kO&:dmodex_request", &token, proc_from_python, &proc)) {
        return NULL;
    }
    pending = pending_new(ROLE_SERVER, token);
    if (pending == NULL) {
        return NULL;
    }
    pending->proc = proc;
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_server_dmodex_request(&pending->proc, dmodex_done, pending);
    Py_END_ALLOW_THREADS
    return pending_started(pending, status);
}

/* notify_event(token, status, source, range, infos): to the ranks of this node. */
PyObject *py_notify_event(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    struct pending *pending;
    PyObject *sequence;
    pmix_proc_t source;
    unsigned long token;
    int event, range;
    pmix_status_t status;

    if (library == NULL || !PyArg_ParseTuple(args, "kiO&iO:notify_event", &token, &event,
                                             proc_from_python, &source, &range, &sequence)) {
        return NULL;
    }
    pending = pending_new(ROLE_SERVER, token);
    if (pending == NULL) {
        return NULL;
    }
    if (!infos_from_python(sequence, &pending->infos, &pending->ninfos)) {
        pending_free(pending);
        return NULL;
    }
    pending->proc = source;
    Py_BEGIN_ALLOW_THREADS
    status = library->PMIx_Notify_event(event, &pending->proc, (pmix_data_range_t)range,
                                        pending->infos, pending->ninfos, pending_op_done, pending);
    Py_END_ALLOW_THREADS
    return pending_started(pending, status);
}

/* locality_string("hwloc:0-3") -> text, or None for a rank that is not bound. */
PyObject *py_locality_string(PyObject *Py_UNUSED(self), PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    pmix_cpuset_t cpuset;
    const char *text;
    char *copy, *locality = NULL;
    pmix_status_t status;
    PyObject *result;

    if (library == NULL || !PyArg_ParseTuple(args, "s:locality_string", &text)) {
        return NULL;
    }
    copy = strdup(text); /* libpmix writes into its argument while it parses */
    if (copy == NULL) {
        return PyErr_NoMemory();
    }
    memset(&cpuset, 0, sizeof(cpuset));
    status = library->PMIx_Parse_cpuset_string(copy, &cpuset);
    free(copy);
    if (status == PMIX_SUCCESS) {
        status = library->PMIx_server_generate_locality_string(&cpuset, &locality);
        if (library->PMIx_Cpuset_destruct != NULL) {
            library->PMIx_Cpuset_destruct(&cpuset);
        }
    }
    if (status != PMIX_SUCCESS) {
        return raise_status(status);
    }
    result = locality == NULL ? Py_NewRef(Py_None) : PyUnicode_FromString(locality);
    free(locality);
    return result;
}
