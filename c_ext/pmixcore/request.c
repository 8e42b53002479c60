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
    PyObject *kind, *source, *procs, *infos, *data, *text;
    int status;
};

static pthread_mutex_t allowed_lock = PTHREAD_MUTEX_INITIALIZER;
static bool callbacks_allowed;

void requests_allow(bool allowed)
{
    pthread_mutex_lock(&allowed_lock);
    callbacks_allowed = allowed;
    pthread_mutex_unlock(&allowed_lock);
}

/* Runs without the GIL. libpmix moves the work to its own thread (modex) or writes to
 * the rank's socket queue (operations), so this does not block. data is malloc'ed and
 * belongs to libpmix until it calls free. */
static void call_back(struct record *record, int status, char *data, size_t ndata)
{
    bool released = false;

    pthread_mutex_lock(&allowed_lock);
    if (callbacks_allowed && record->answer == ANSWER_OP && record->callback.op != NULL) {
        record->callback.op(status, record->cbdata);
    } else if (callbacks_allowed && record->answer == ANSWER_MODEX &&
               record->callback.modex != NULL) {
        record->callback.modex(status, data, ndata, record->cbdata, free, data);
        released = true;
    }
    pthread_mutex_unlock(&allowed_lock);
    if (!released) {
        free(data);
    }
    record_free(record);
}

static bool request_fill(struct request *request, const struct record *record)
{
    request->status = record->status;
    request->kind = PyUnicode_FromString(record->kind);
    request->source = proc_to_python(&record->source);
    request->procs = procs_to_python(record->procs, record->nprocs);
    request->infos = infos_to_python(record->infos, record->ninfos);
    request->data = PyBytes_FromStringAndSize(record->data, (Py_ssize_t)record->ndata);
    request->text = PyUnicode_DecodeUTF8(record->text == NULL ? "" : record->text,
                                         record->text == NULL ? 0 : (Py_ssize_t)strlen(record->text),
                                         "surrogateescape");
    return request->kind != NULL && request->source != NULL && request->procs != NULL &&
           request->infos != NULL && request->data != NULL && request->text != NULL;
}

PyObject *request_new(struct record *record)
{
    struct request *request = PyObject_New(struct request, request_type);

    if (request == NULL) {
        call_back(record, PMIX_ERR_NOMEM, NULL, 0);
        return NULL;
    }
    request->record = record;
    request->kind = request->source = request->procs = NULL;
    request->infos = request->data = request->text = NULL;
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
        call_back(request->record, PMIX_ERR_NOT_AVAILABLE, NULL, 0);
    }
    Py_XDECREF(request->kind);
    Py_XDECREF(request->source);
    Py_XDECREF(request->procs);
    Py_XDECREF(request->infos);
    Py_XDECREF(request->data);
    Py_XDECREF(request->text);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* answer(status, data=b""): True, or False if it was answered before. */
static PyObject *request_answer(PyObject *self, PyObject *args)
{
    struct request *request = (struct request *)self;
    struct record *record = request->record;
    const char *content = "";
    Py_ssize_t size = 0;
    int status;
    char *data = NULL;

    if (!PyArg_ParseTuple(args, "i|y#:answer", &status, &content, &size)) {
        return NULL;
    }
    if (record == NULL) {
        Py_RETURN_FALSE;
    }
    if (size > 0) {
        data = malloc((size_t)size);
        if (data == NULL) {
            return PyErr_NoMemory();
        }
        memcpy(data, content, (size_t)size);
    }
    request->record = NULL;
    Py_BEGIN_ALLOW_THREADS
    call_back(record, status, data, (size_t)size);
    Py_END_ALLOW_THREADS
    Py_RETURN_TRUE;
}

static PyObject *request_answered(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((struct request *)self)->record == NULL);
}

static PyMethodDef request_methods[] = {
    {"answer", request_answer, METH_VARARGS, "Answer the rank: status, then data of a modex."},
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
    REQUEST_MEMBER(status, T_INT),      {NULL, 0, 0, 0, NULL},
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
