/* Records from libpmix's threads to Python. */
#include "pmixcore.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queue {
    pthread_mutex_t lock;
    struct record *first;
    struct record **end;
    int fd; /* eventfd; -1 until Python asks for it */
};

static struct queue queues[ROLE_COUNT] = {
    [ROLE_SERVER] = {PTHREAD_MUTEX_INITIALIZER, NULL, &queues[ROLE_SERVER].first, -1},
    [ROLE_CLIENT] = {PTHREAD_MUTEX_INITIALIZER, NULL, &queues[ROLE_CLIENT].first, -1},
};

struct record *record_new(const char *kind)
{
    struct record *record = calloc(1, sizeof(*record));

    if (record != NULL) {
        record->kind = kind;
    }
    return record;
}

void record_free(struct record *record)
{
    if (record == NULL) {
        return;
    }
    free(record->procs);
    infos_free(record->infos, record->ninfos);
    strings_free(record->keys);
    queries_free(record->queries, record->nqueries);
    free(record->data);
    free(record->text);
    value_free(&record->value);
    free(record->reply.data);
    infos_free(record->reply.infos, record->reply.ninfos);
    pdata_free(record->reply.pdata, record->reply.npdata);
    free(record);
}

bool record_set_procs(struct record *record, const pmix_proc_t *procs, size_t count)
{
    if (procs == NULL || count == 0) {
        return true;
    }
    record->procs = calloc(count, sizeof(*procs));
    if (record->procs == NULL) {
        return false;
    }
    memcpy(record->procs, procs, count * sizeof(*procs));
    record->nprocs = count;
    return true;
}

bool record_set_infos(struct record *record, const pmix_info_t *infos, size_t count)
{
    if (infos == NULL || count == 0) {
        return true;
    }
    record->infos = infos_copy(infos, count);
    record->ninfos = record->infos == NULL ? 0 : count;
    return record->infos != NULL;
}

bool record_set_keys(struct record *record, char *const *keys)
{
    record->keys = keys == NULL ? NULL : strings_copy(keys);
    return keys == NULL || record->keys != NULL;
}

bool record_set_data(struct record *record, const char *data, size_t count)
{
    if (data == NULL || count == 0) {
        return true;
    }
    record->data = malloc(count);
    if (record->data == NULL) {
        return false;
    }
    memcpy(record->data, data, count);
    record->ndata = count;
    return true;
}

void queue_push(enum role role, struct record *record)
{
    struct queue *queue = &queues[role];
    uint64_t one = 1;

    pthread_mutex_lock(&queue->lock);
    *queue->end = record;
    queue->end = &record->next;
    /* The counter cannot overflow before 2^64 - 1 pushes, so the write cannot block. */
    if (queue->fd >= 0 && write(queue->fd, &one, sizeof(one)) < 0) {
        abort();
    }
    pthread_mutex_unlock(&queue->lock);
}

struct record *queue_take(enum role role)
{
    struct queue *queue = &queues[role];
    struct record *taken;
    uint64_t count;

    pthread_mutex_lock(&queue->lock);
    if (queue->fd >= 0 && read(queue->fd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
        abort();
    }
    taken = queue->first;
    queue->first = NULL;
    queue->end = &queue->first;
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

static bool parse_role(PyObject *args, enum role *role)
{
    int number;

    if (!PyArg_ParseTuple(args, "i:role", &number)) {
        return false;
    }
    if (number < 0 || number >= ROLE_COUNT) {
        PyErr_SetString(PyExc_ValueError, "no such role");
        return false;
    }
    *role = (enum role)number;
    return true;
}

/* queue_fd(role): readable while something is queued. */
PyObject *py_queue_fd(PyObject *Py_UNUSED(self), PyObject *args)
{
    enum role role;

    if (!parse_role(args, &role)) {
        return NULL;
    }
    if (queues[role].fd < 0) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0) {
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        pthread_mutex_lock(&queues[role].lock);
        queues[role].fd = fd;
        pthread_mutex_unlock(&queues[role].lock);
    }
    return PyLong_FromLong(queues[role].fd);
}

/* (token, status, bytes | (type, data) | None) */
static PyObject *completion_to_python(struct record *record)
{
    PyObject *payload;

    if (record->data != NULL) {
        payload = PyBytes_FromStringAndSize(record->data, (Py_ssize_t)record->ndata);
    } else if (record->value.type != PMIX_UNDEF || record->value.data.uint16 != PMIX_UNDEF) {
        payload = value_to_python(&record->value);
    } else {
        payload = Py_NewRef(Py_None);
    }
    return Py_BuildValue("(kiN)", record->token, record->status, payload);
}

/* drain(role) -> list of Request and of completions, oldest first */
PyObject *py_drain(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *list, *item;
    struct record *record, *next;
    enum role role;

    if (!parse_role(args, &role)) {
        return NULL;
    }
    list = PyList_New(0);
    for (record = list == NULL ? NULL : queue_take(role); record != NULL; record = next) {
        next = record->next;
        if (record->completion) {
            item = completion_to_python(record);
            record_free(record);
        } else {
            item = request_new(record);
        }
        if (item == NULL || PyList_Append(list, item) < 0) {
            PyErr_WriteUnraisable(NULL); /* the others must still be delivered */
        }
        Py_XDECREF(item);
    }
    return list;
}
