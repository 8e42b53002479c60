/* A request of a rank as a Python object that answers exactly once.
 *
 * If it dies unanswered, the rank gets an error instead of waiting for ever. */
#include "pmixcore.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>

PyTypeObject *request_type;

struct request {
    PyObject_HEAD
    struct record *record; /* NULL after the answer */
    PyObject *kind, *source, *procs, *infos, *keys, *queries, *data, *text;
    int status;
    long number;
};

static pthread_mutex_t allowed_lock = PTHREAD_MUTEX_INITIALIZER;
static bool callbacks_allowed;

void requests_allow(bool allowed)
{
    pthread_mutex_lock(&allowed_lock);
    callbacks_allowed = allowed;
    pthread_mutex_unlock(&allowed_lock);
}

static void answered(void *record)
{
    record_free(record);
}

/* Calls the stored callback. The record lives until libpmix has read the reply: infos are
 * released by libpmix, everything else is copied before the callback returns. */
static void deliver(struct record *record)
{
    struct reply *reply = &record->reply;
    int status = record->status;
    char *data = reply->data;

    switch (record->callback.op == NULL ? ANSWER_NONE : record->answer) {
    case ANSWER_OP: record->callback.op(status, record->cbdata); break;
    case ANSWER_MODEX:
        reply->data = NULL; /* libpmix's until it calls free */
        record->callback.modex(status, data, reply->ndata, record->cbdata, free, data);
        break;
    case ANSWER_LOOKUP:
        record->callback.lookup(status, reply->pdata, reply->npdata, record->cbdata);
        break;
    case ANSWER_INFO:
        record->callback.info(status, reply->infos, reply->ninfos, record->cbdata, answered,
                              record);
        return;
    case ANSWER_NONE: break;
    }
    record_free(record);
}

static void deliver_on_progress_thread(pmix_status_t status, void *record)
{
    (void)status;
    deliver(record);
}

/* Runs without the GIL and does not block. Callbacks of a modex move to libpmix's own
 * thread by themselves; the others append to the rank's queue of messages where they are
 * called (PMIX_SERVER_QUEUE_REPLY in pmix_server.c), so they have to be called on that
 * thread. Registering no resources does nothing there but call back. */
static void call_back(const struct library *library, struct record *record, int status)
{
    record->status = status;
    pthread_mutex_lock(&allowed_lock);
    if (!callbacks_allowed || record->answer == ANSWER_NONE) {
        record_free(record);
    } else if (record->answer == ANSWER_MODEX) {
        deliver(record);
    } else if (library->PMIx_server_register_resources(NULL, 0, deliver_on_progress_thread,
                                                       record) != PMIX_SUCCESS) {
        record_free(record);
    }
    pthread_mutex_unlock(&allowed_lock);
}

static bool request_fill(struct request *request, const struct record *record)
{
    request->status = record->status;
    request->number = record->number;
    request->kind = PyUnicode_FromString(record->kind);
    request->source = proc_to_python(&record->source);
    request->procs = procs_to_python(record->procs, record->nprocs);
    request->infos = infos_to_python(record->infos, record->ninfos);
    request->keys = strings_to_python(record->keys);
    request->queries = queries_to_python(record->queries, record->nqueries);
    request->data = PyBytes_FromStringAndSize(record->data, (Py_ssize_t)record->ndata);
    request->text = PyUnicode_DecodeUTF8(record->text == NULL ? "" : record->text,
                                         record->text == NULL ? 0 : (Py_ssize_t)strlen(record->text),
                                         "surrogateescape");
    return request->kind != NULL && request->source != NULL && request->procs != NULL &&
           request->infos != NULL && request->keys != NULL && request->queries != NULL && request->data != NULL && request->text != NULL;
}

PyObject *request_new(struct record *record)
{
    struct request *request = PyObject_New(struct request, request_type);

    if (request == NULL) {
        call_back(library_of(ROLE_SERVER), record, PMIX_ERR_NOMEM);
        return NULL;
    }
    request->record = record;
    request->kind = request->source = request->procs = NULL;
    request->infos = request->keys = request->queries = NULL;
    request->data = request->text = NULL;
    if (!request_fill(request, record)) {
        Py_DECREF(request); /* answers */
        return NULL;
    }
    return (PyObject *)request;
}

static void request_dealloc(PyObject *self)
{
    struct request *request = (struct request *)self;
    PyTypeObject *type = Py_TYPE(self);

    if (request->record != NULL) {
        call_back(library_of(ROLE_SERVER), request->record, PMIX_ERR_NOT_AVAILABLE);
    }
    Py_XDECREF(request->kind);
    Py_XDECREF(request->source);
    Py_XDECREF(request->procs);
    Py_XDECREF(request->infos);
    Py_XDECREF(request->keys);
    Py_XDECREF(request->queries);
    Py_XDECREF(request->data);
    Py_XDECREF(request->text);
    PyObject_Free(self);
    Py_DECREF(type);
}

static bool reply_bytes(struct reply *reply, PyObject *payload)
{
    char *content;
    Py_ssize_t size;

    if (PyBytes_AsStringAndSize(payload, &content, &size) < 0) {
        return false;
    }
    reply->data = size == 0 ? NULL : malloc((size_t)size);
    if (size > 0 && reply->data == NULL) {
        PyErr_NoMemory();
        return false;
    }
    if (size > 0) {
        memcpy(reply->data, content, (size_t)size);
    }
    reply->ndata = (size_t)size;
    return true;
}

static bool reply_from_python(struct record *record, PyObject *payload)
{
    struct reply *reply = &record->reply;

    switch (record->answer) {
    case ANSWER_MODEX: return reply_bytes(reply, payload);
    case ANSWER_LOOKUP: return pdata_from_python(payload, &reply->pdata, &reply->npdata);
    case ANSWER_INFO: return infos_from_python(payload, &reply->infos, &reply->ninfos);
    default: return true;
    }
}

/* answer(status, payload=None): True, or False if it was answered before. A payload that
 * PMIx cannot carry is an exception, and the rank gets PMIX_ERROR. */
static PyObject *request_answer(PyObject *self, PyObject *args)
{
    const struct library *library = library_of(ROLE_SERVER);
    struct request *request = (struct request *)self;
    struct record *record = request->record;
    PyObject *payload = Py_None;
    int status;
    bool good;

    if (library == NULL || !PyArg_ParseTuple(args, "i|O:answer", &status, &payload)) {
        return NULL;
    }
    if (record == NULL) {
        Py_RETURN_FALSE;
    }
    good = payload == Py_None || reply_from_python(record, payload);
    request->record = NULL;
    Py_BEGIN_ALLOW_THREADS
    call_back(library, record, good ? status : PMIX_ERROR);
    Py_END_ALLOW_THREADS
    if (!good) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

static PyObject *request_answered(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((struct request *)self)->record == NULL);
}

static PyMethodDef request_methods[] = {
    {"answer", request_answer, METH_VARARGS, "Answer the rank: status, then what the call gives."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef request_properties[] = {
    {"answered", request_answered, NULL, "Whether the rank has its answer.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define REQUEST_MEMBER(name, kind) {#name, kind, offsetof(struct request, name), READONLY, NULL}
static PyMemberDef request_members[] = {
    REQUEST_MEMBER(kind, T_OBJECT_EX),  REQUEST_MEMBER(source, T_OBJECT_EX),
    REQUEST_MEMBER(procs, T_OBJECT_EX), REQUEST_MEMBER(infos, T_OBJECT_EX),
    REQUEST_MEMBER(data, T_OBJECT_EX),  REQUEST_MEMBER(text, T_OBJECT_EX),
    REQUEST_MEMBER(keys, T_OBJECT_EX),  REQUEST_MEMBER(queries, T_OBJECT_EX),
    REQUEST_MEMBER(number, T_LONG),     REQUEST_MEMBER(status, T_INT),
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot request_slots[] = {
    {Py_tp_dealloc, request_dealloc},
    {Py_tp_methods, request_methods},
    {Py_tp_getset, request_properties},
    {Py_tp_members, request_members},
    {0, NULL},
};

static PyType_Spec request_spec = {
    .name = "pmix_server._pmixcore.Request",
    .basicsize = sizeof(struct request),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = request_slots,
};

bool request_type_ready(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&request_spec);

    if (type == NULL) {
        return false;
    }
    request_type = (PyTypeObject *)type;
    return PyModule_AddObjectRef(module, "Request", type) == 0;
}
