/* The module object pmix_server._pmixcore. */
#include "pmixcore.h"

PyObject *pmix_error;

PyObject *raise_status(pmix_status_t status)
{
    PyObject *number = PyLong_FromLong(status);

    if (number != NULL) {
        PyErr_SetObject(pmix_error, number);
        Py_DECREF(number);
    }
    return NULL;
}

static PyMethodDef methods[] = {
    {"load", py_load, METH_VARARGS, "load(role, path, private) -> version text"},
    {"share", py_share, METH_NOARGS, "Let the client role use the server's library."},
    {"error_string", py_error_string, METH_VARARGS, "libpmix's name of a status."},
    {"queue_fd", py_queue_fd, METH_VARARGS, "Descriptor that is readable while a role has news."},
    {"drain", py_drain, METH_VARARGS, "Requests and completions of a role, oldest first."},
    {"server_init", py_server_init, METH_VARARGS, "server_init(infos)"},
    {"server_finalize", py_server_finalize, METH_NOARGS, "Stop serving."},
    {"register_nspace", py_register_nspace, METH_VARARGS, "(token, nspace, local_count, infos)"},
    {"deregister_nspace", py_deregister_nspace, METH_VARARGS, "(token, nspace)"},
    {"register_client", py_register_client, METH_VARARGS, "(token, proc, uid, gid)"},
    {"deregister_client", py_deregister_client, METH_VARARGS, "(token, proc)"},
    {"setup_fork", py_setup_fork, METH_VARARGS, "setup_fork(proc) -> environment entries"},
    {"dmodex_request", py_dmodex_request, METH_VARARGS, "(token, proc)"},
    {"notify_event", py_notify_event, METH_VARARGS, "(token, status, source, range, infos)"},
    {"locality_string", py_locality_string, METH_VARARGS, "locality_string(cpuset text)"},
    {"client_init", py_client_init, METH_VARARGS, "client_init(infos) -> proc"},
    {"client_finalize", py_client_finalize, METH_NOARGS, "Leave the launcher."},
    {"launcher_init", py_launcher_init, METH_VARARGS, "launcher_init(infos) -> proc"},
    {"launcher_finalize", py_launcher_finalize, METH_NOARGS, "Leave the launcher, stop serving."},
    {"put", py_put, METH_VARARGS, "put(scope, key, type, data)"},
    {"commit", py_commit, METH_NOARGS, "Make what was put visible."},
    {"get", py_get, METH_VARARGS, "get(token, proc, key, infos)"},
    {"abort", py_abort, METH_VARARGS, "abort(status, message)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pmix_server._pmixcore",
    .m_doc = "Two copies of libpmix behind a queue: see pmix_server/_pmixcore.pyi.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__pmixcore(void)
{
    PyObject *module = PyModule_Create(&definition);

    if (module == NULL) {
        return NULL;
    }
    pmix_error = PyErr_NewExceptionWithDoc("pmix_server._pmixcore.PMIxError",
                                           "A PMIx call failed; args[0] is its status.", NULL,
                                           NULL);
    if (pmix_error == NULL || PyModule_AddObjectRef(module, "PMIxError", pmix_error) < 0 ||
        PyModule_AddIntConstant(module, "SERVER", ROLE_SERVER) < 0 ||
        PyModule_AddIntConstant(module, "CLIENT", ROLE_CLIENT) < 0 ||
        !request_type_ready(module)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
