/* pmix_server._pmixcore: the boundary between Python and libpmix.
 *
 * libpmix is never linked. It is loaded at run time, up to twice: one copy is the
 * server of the ranks, a second private copy is the client of whoever launched us,
 * because one image of the library holds one identity in its globals
 * (pmix_globals.mypeer, pmix_client_globals.myserver). The copies may be of
 * different versions, so nothing here may rely on the headers for more than types.
 *
 * No Python runs on a thread of libpmix: an upcall copies its arguments into a
 * record, appends it to a queue and signals an eventfd. Python drains the queue.
 */
#ifndef PMIXCORE_H
#define PMIXCORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pmix.h>
#include <pmix_server.h>
#include <pmix_tool.h>

#include <stdbool.h>
#include <stdint.h>

/* ---- library.c: the two tables of functions ------------------------------- */

enum role { ROLE_SERVER, ROLE_CLIENT, ROLE_COUNT };

/* The second member is true for functions that every supported version has. */
#define PMIXCORE_FUNCTIONS(X)                                                            \
    X(PMIx_Get_version, true)                                                            \
    X(PMIx_Error_string, true)                                                           \
    X(PMIx_server_init, true)                                                            \
    X(PMIx_server_finalize, true)                                                        \
    X(PMIx_server_register_nspace, true)                                                 \
    X(PMIx_server_deregister_nspace, true)                                               \
    X(PMIx_server_register_client, true)                                                 \
    X(PMIx_server_deregister_client, true)                                               \
    X(PMIx_server_setup_fork, true)                                                      \
    X(PMIx_server_dmodex_request, true)                                                  \
    X(PMIx_server_register_resources, true)                                              \
    X(PMIx_Notify_event, true)                                                           \
    X(PMIx_server_generate_locality_string, true)                                        \
    X(PMIx_Parse_cpuset_string, true)                                                    \
    X(PMIx_Cpuset_destruct, false)                                                       \
    X(PMIx_generate_regex, true)                                                         \
    X(PMIx_generate_ppn, true)                                                           \
    X(PMIx_Init, true)                                                                   \
    X(PMIx_Finalize, true)                                                               \
    X(PMIx_Put, true)                                                                    \
    X(PMIx_Commit, true)                                                                 \
    X(PMIx_Get_nb, true)                                                                 \
    X(PMIx_Abort, true)                                                                  \
    X(PMIx_tool_init, true)                                                              \
    X(PMIx_tool_finalize, true)

typedef pmix_status_t (*set_server_module_fn)(pmix_server_module_t *module);

struct library {
    void *handle;
#define PMIXCORE_MEMBER(name, required) __typeof__(name) *name;
    PMIXCORE_FUNCTIONS(PMIXCORE_MEMBER)
#undef PMIXCORE_MEMBER
    /* from 4.2.4 on; 4.2.2's headers do not declare it */
    set_server_module_fn PMIx_tool_set_server_module;
};

/* The table of a role; NULL with a Python exception if nothing was loaded. */
const struct library *library_of(enum role role);
PyObject *py_load(PyObject *self, PyObject *args);
PyObject *py_share(PyObject *self, PyObject *noargs);
PyObject *py_error_string(PyObject *self, PyObject *args);

/* ---- values.c: copying and freeing without Python ------------------------- */

/* Size of one element of a type in an array; 0 for a type that is not handled. */
size_t element_size(pmix_data_type_t type);
/* Where the union keeps the element: inside, or behind one of its pointers. */
void *value_element(const pmix_value_t *value);
/* Gives a value room for an element of its type; false if out of memory. */
bool value_reserve(pmix_value_t *value, pmix_data_type_t type);
/* Deep copy. A type that is not handled becomes PMIX_UNDEF, with its number kept
 * in data.uint16, so that it can be named to the user and is never dereferenced. */
bool value_copy(pmix_value_t *to, const pmix_value_t *from);
void value_free(pmix_value_t *value);
void element_free(pmix_data_type_t type, void *element);
pmix_info_t *infos_copy(const pmix_info_t *from, size_t count);
void infos_free(pmix_info_t *infos, size_t count);
char **strings_copy(char *const *from); /* NULL-terminated */
void strings_free(char **strings);
pmix_query_t *queries_copy(const pmix_query_t *from, size_t count);
void queries_free(pmix_query_t *queries, size_t count);

/* ---- scalars.c: the types that are plain numbers --------------------------- */

enum scalar_kind { SCALAR_UNSIGNED, SCALAR_SIGNED, SCALAR_BOOL, SCALAR_REAL };
/* Size of a number of a type; 0 for another type. */
size_t scalar_size(pmix_data_type_t type);
/* False for a type that is no number or is not handled. */
bool scalar_kind_of(pmix_data_type_t type, enum scalar_kind *kind);
/* An integer of size bytes. */
uint64_t load_unsigned(const void *element, size_t size);
int64_t load_signed(const void *element, size_t size);

/* ---- to_python.c, from_python.c -------------------------------------------- */

PyObject *value_to_python(const pmix_value_t *value); /* (type, data) */
bool value_from_python(pmix_value_t *value, pmix_data_type_t type, PyObject *data);
PyObject *infos_to_python(const pmix_info_t *infos, size_t count);
/* Sequence of (key, type, data); count 0 gives NULL without an exception. */
bool infos_from_python(PyObject *sequence, pmix_info_t **infos, size_t *count);
/* Sequence of (proc, key, type, data), freed with pdata_free. */
bool pdata_from_python(PyObject *sequence, pmix_pdata_t **pdata, size_t *count);
void pdata_free(pmix_pdata_t *pdata, size_t count);
PyObject *proc_to_python(const pmix_proc_t *proc);
PyObject *procs_to_python(const pmix_proc_t *procs, size_t count);
PyObject *strings_to_python(char *const *strings); /* NULL gives [] */
PyObject *queries_to_python(const pmix_query_t *queries, size_t count); /* [([key], [info])] */
/* Converter for PyArg_ParseTuple's "O&". */
int proc_from_python(PyObject *object, void *proc);

/* ---- queue.c: what libpmix's threads hand to Python ------------------------ */

enum answer {
    ANSWER_NONE,
    ANSWER_OP,     /* a status */
    ANSWER_MODEX,  /* and bytes */
    ANSWER_LOOKUP, /* and published data */
    ANSWER_INFO,   /* and infos */
};

/* What goes back to a rank besides the status. */
struct reply {
    char *data;
    size_t ndata;
    pmix_info_t *infos;
    size_t ninfos;
    pmix_pdata_t *pdata;
    size_t npdata;
};

struct record {
    struct record *next;
    bool completion;      /* of an outgoing call; else a request of a rank */
    const char *kind;     /* name of the upcall */
    unsigned long token;  /* of the outgoing call */
    int status;
    pmix_proc_t source;
    pmix_proc_t *procs;
    size_t nprocs;
    pmix_info_t *infos;
    size_t ninfos;
    char **keys; /* NULL-terminated */
    pmix_query_t *queries;
    size_t nqueries;
    char *data;
    size_t ndata;
    char *text;
    long number; /* range, operation, directive or channels, as the kind has it */
    pmix_value_t value;
    enum answer answer;
    union {
        pmix_op_cbfunc_t op;
        pmix_modex_cbfunc_t modex;
        pmix_lookup_cbfunc_t lookup;
        pmix_info_cbfunc_t info;
    } callback;
    void *cbdata;
    struct reply reply;
};

struct record *record_new(const char *kind);
void record_free(struct record *record);
bool record_set_procs(struct record *record, const pmix_proc_t *procs, size_t count);
bool record_set_infos(struct record *record, const pmix_info_t *infos, size_t count);
bool record_set_keys(struct record *record, char *const *keys);
bool record_set_data(struct record *record, const char *data, size_t count);
void queue_push(enum role role, struct record *record);
/* Everything queued so far, oldest first; the caller owns it. */
struct record *queue_take(enum role role);
PyObject *py_queue_fd(PyObject *self, PyObject *args);
PyObject *py_drain(PyObject *self, PyObject *args);

/* ---- pending.c: outgoing calls --------------------------------------------- */

/* An outgoing call under way: what must stay alive until libpmix calls back. */
struct pending {
    unsigned long token;
    enum role role;
    pmix_info_t *infos;
    size_t ninfos;
    char *key;
    pmix_proc_t proc;
};

struct pending *pending_new(enum role role, unsigned long token);
void pending_free(struct pending *pending);
/* Ends an outgoing call: queues its completion and frees it. data and value may be NULL. */
void pending_complete(struct pending *pending, int status, const char *data, size_t ndata,
                      const pmix_value_t *value);
void pending_op_done(pmix_status_t status, void *cbdata); /* a pmix_op_cbfunc_t */
/* Common end of every wrapper of a *_nb call: None if the completion will come, else the
 * exception PMIxError(status) and pending is freed. */
PyObject *pending_started(struct pending *pending, pmix_status_t status);

/* ---- request.c: a rank's request as a Python object, answered exactly once -- */

extern PyTypeObject *request_type;
bool request_type_ready(PyObject *module);
PyObject *request_new(struct record *record); /* steals record */
/* After the server library is gone its callbacks must not be called any more. */
void requests_allow(bool allowed);

/* ---- upcalls.c ------------------------------------------------------------- */

/* Fills a zeroed, padded module: a newer library copies more than our header knows. */
#define MODULE_SLOTS 64
union server_module {
    pmix_server_module_t module;
    void *slots[MODULE_SLOTS];
};
void upcalls_fill(union server_module *module);
/* Queues a complete record; else frees it. Gives what the upcall has to return. */
pmix_status_t hand_over(struct record *record, bool complete);

/* ---- services.c: upcalls that are answered by services of the whole job ------ */

void upcalls_fill_services(pmix_server_module_t *module);

/* ---- server.c, client.c, module.c ------------------------------------------ */

extern PyObject *pmix_error; /* exception _pmixcore.PMIxError(status) */
PyObject *raise_status(pmix_status_t status);

PyObject *py_server_init(PyObject *self, PyObject *args);
PyObject *py_server_finalize(PyObject *self, PyObject *noargs);
PyObject *py_register_nspace(PyObject *self, PyObject *args);
PyObject *py_deregister_nspace(PyObject *self, PyObject *args);
PyObject *py_register_client(PyObject *self, PyObject *args);
PyObject *py_deregister_client(PyObject *self, PyObject *args);
PyObject *py_setup_fork(PyObject *self, PyObject *args);
PyObject *py_dmodex_request(PyObject *self, PyObject *args);
PyObject *py_notify_event(PyObject *self, PyObject *args);
PyObject *py_locality_string(PyObject *self, PyObject *args);

PyObject *py_client_init(PyObject *self, PyObject *args);
PyObject *py_client_finalize(PyObject *self, PyObject *noargs);
PyObject *py_launcher_init(PyObject *self, PyObject *args);
PyObject *py_launcher_finalize(PyObject *self, PyObject *noargs);
PyObject *py_put(PyObject *self, PyObject *args);
PyObject *py_commit(PyObject *self, PyObject *noargs);
PyObject *py_get(PyObject *self, PyObject *args);
PyObject *py_abort(PyObject *self, PyObject *args);

#endif
