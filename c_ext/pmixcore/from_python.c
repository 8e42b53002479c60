/* PMIx values from Python objects, in the form that to_python.c gives.
 *
 * What does not fit its PMIx type is an exception, never cut. */
#include "pmixcore.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* Copies text into a fixed field of PMIx; ValueError if it is too long. */
static bool text_to_field(char *field, size_t room, PyObject *text)
{
    Py_ssize_t length;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &length);

    if (utf8 == NULL) {
        return false;
    }
    if ((size_t)length >= room || strlen(utf8) != (size_t)length) {
        PyErr_Format(PyExc_ValueError, "%R is longer than PMIx's %zu bytes or holds a NUL", text,
                     room - 1);
        return false;
    }
    memset(field, 0, room);
    memcpy(field, utf8, (size_t)length);
    return true;
}

int proc_from_python(PyObject *object, void *result)
{
    pmix_proc_t *proc = result;
    PyObject *nspace;
    unsigned long rank;

    memset(proc, 0, sizeof(*proc));
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != 2) {
        PyErr_SetString(PyExc_TypeError, "a process is (namespace, rank)");
        return 0;
    }
    nspace = PyTuple_GET_ITEM(object, 0);
    rank = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(object, 1));
    if (PyErr_Occurred() || !text_to_field(proc->nspace, sizeof(proc->nspace), nspace)) {
        return 0;
    }
    if (rank > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a rank has 32 bits");
        return 0;
    }
    proc->rank = (pmix_rank_t)rank;
    return 1;
}

static bool string_from_python(char **string, PyObject *data)
{
    PyObject *bytes = PyUnicode_AsEncodedString(data, "utf-8", "surrogateescape");

    if (bytes != NULL) {
        *string = strdup(PyBytes_AS_STRING(bytes));
        Py_DECREF(bytes);
    }
    return bytes != NULL && *string != NULL;
}

static bool bytes_from_python(pmix_byte_object_t *bytes, PyObject *data)
{
    char *content;
    Py_ssize_t size;

    if (PyBytes_AsStringAndSize(data, &content, &size) < 0) {
        return false;
    }
    bytes->bytes = malloc(size == 0 ? 1 : (size_t)size);
    if (bytes->bytes == NULL) {
        PyErr_NoMemory();
        return false;
    }
    memcpy(bytes->bytes, content, (size_t)size);
    bytes->size = (size_t)size;
    return true;
}

static bool real_from_python(pmix_data_type_t type, void *element, PyObject *data)
{
    double real = PyFloat_AsDouble(data);
    float small = (float)real;
    struct timeval time;

    if (PyErr_Occurred()) {
        return false;
    }
    if (type == PMIX_TIMEVAL) {
        time.tv_sec = (time_t)real;
        time.tv_usec = (suseconds_t)((real - (double)time.tv_sec) * 1e6);
        memcpy(element, &time, sizeof(time));
    } else if (type == PMIX_FLOAT) {
        memcpy(element, &small, sizeof(small));
    } else {
        memcpy(element, &real, sizeof(real));
    }
    return true;
}

/* Refuses a number that its PMIx type cannot hold. */
static bool integer_from_python(pmix_data_type_t type, bool is_signed, void *element,
                                PyObject *data)
{
    size_t size = element_size(type);
    uint64_t number;
    bool fits;

    if (is_signed) {
        int64_t value = PyLong_AsLongLong(data);

        number = (uint64_t)value;
        fits = load_signed(&number, size) == value;
    } else {
        number = PyLong_AsUnsignedLongLong(data);
        fits = load_unsigned(&number, size) == number;
    }
    if (PyErr_Occurred()) {
        return false;
    }
    if (!fits) {
        PyErr_Format(PyExc_OverflowError, "%R does not fit PMIx type %d", data, (int)type);
        return false;
    }
    memcpy(element, &number, size);
    return true;
}

static bool element_from_python(pmix_data_type_t type, void *element, PyObject *data);

/* data = (element type, sequence) */
static bool array_from_python(pmix_data_array_t *array, PyObject *data)
{
    PyObject *items, *sequence;
    int type;
    bool good = true;
    size_t size;

    if (!PyTuple_Check(data) || !PyArg_ParseTuple(data, "iO:data array", &type, &items)) {
        return false;
    }
    size = element_size((pmix_data_type_t)type);
    sequence = PySequence_Fast(items, "a data array needs a sequence");
    if (sequence == NULL || size == 0) {
        Py_XDECREF(sequence);
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_ValueError, "arrays of PMIx type %d are not supported", type);
        }
        return false;
    }
    array->type = (pmix_data_type_t)type;
    array->array = calloc((size_t)PySequence_Fast_GET_SIZE(sequence) + 1, size);
    for (Py_ssize_t i = 0; array->array != NULL && good && i < PySequence_Fast_GET_SIZE(sequence);
         i++) {
        array->size = (size_t)i + 1;
        good = element_from_python(array->type, (char *)array->array + (size_t)i * size,
                                   PySequence_Fast_GET_ITEM(sequence, i));
    }
    Py_DECREF(sequence);
    return good && array->array != NULL;
}

static bool optional_string(char **string, PyObject *data)
{
    return data == Py_None || string_from_python(string, data);
}

static bool proc_info_from_python(pmix_proc_info_t *info, PyObject *data)
{
    PyObject *host, *executable;
    int pid, state;

    if (!PyTuple_Check(data) ||
        !PyArg_ParseTuple(data, "O&OOiii:process info", proc_from_python, &info->proc, &host,
                          &executable, &pid, &info->exit_code, &state)) {
        return false;
    }
    info->pid = pid;
    info->state = (pmix_proc_state_t)state;
    return optional_string(&info->hostname, host) &&
           optional_string(&info->executable_name, executable);
}

static bool envar_from_python(pmix_envar_t *envar, PyObject *data)
{
    PyObject *name, *value;
    int separator;

    if (!PyTuple_Check(data) ||
        !PyArg_ParseTuple(data, "OOi:environment variable", &name, &value, &separator)) {
        return false;
    }
    envar->separator = (char)separator;
    return optional_string(&envar->envar, name) && optional_string(&envar->value, value);
}

static bool info_from_python(pmix_info_t *info, PyObject *item)
{
    PyObject *key, *data;
    int type;

    if (!PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "an info is (key, type, data)");
        return false;
    }
    return PyArg_ParseTuple(item, "UiO:info", &key, &type, &data) &&
           text_to_field(info->key, sizeof(info->key), key) &&
           value_from_python(&info->value, (pmix_data_type_t)type, data);
}

static bool nested_value_from_python(pmix_value_t *value, PyObject *item)
{
    PyObject *data;
    int type;

    return PyTuple_Check(item) && PyArg_ParseTuple(item, "iO:value", &type, &data) &&
           value_from_python(value, (pmix_data_type_t)type, data);
}

static bool element_from_python(pmix_data_type_t type, void *element, PyObject *data)
{
    enum scalar_kind kind;

    switch (type) {
    case PMIX_STRING: return string_from_python(element, data);
    case PMIX_BYTE_OBJECT:
    case PMIX_REGEX:
    case PMIX_COMPRESSED_STRING:
    case PMIX_COMPRESSED_BYTE_OBJECT: return bytes_from_python(element, data);
    case PMIX_ENVAR: return envar_from_python(element, data);
    case PMIX_PROC: return proc_from_python(data, element);
    case PMIX_PROC_NSPACE: return text_to_field(element, sizeof(pmix_nspace_t), data);
    case PMIX_PROC_INFO: return proc_info_from_python(element, data);
    case PMIX_INFO: return info_from_python(element, data);
    case PMIX_VALUE: return nested_value_from_python(element, data);
    case PMIX_DATA_ARRAY: return array_from_python(element, data);
    default: break;
    }
    if (!scalar_kind_of(type, &kind)) {
        PyErr_Format(PyExc_ValueError, "PMIx type %d is not supported", (int)type);
        return false;
    }
    if (kind == SCALAR_BOOL) {
        *(bool *)element = PyObject_IsTrue(data) == 1;
        return !PyErr_Occurred();
    }
    if (kind == SCALAR_REAL) {
        return real_from_python(type, element, data);
    }
    return integer_from_python(type, kind == SCALAR_SIGNED, element, data);
}

bool value_from_python(pmix_value_t *value, pmix_data_type_t type, PyObject *data)
{
    if (!value_reserve(value, type)) {
        PyErr_NoMemory();
        return false;
    }
    if (value->type == PMIX_UNDEF && type == PMIX_UNDEF && data == Py_None) {
        return true; /* a key that only has to be there */
    }
    if (value->type == PMIX_UNDEF) {
        PyErr_Format(PyExc_ValueError, "PMIx type %d is not supported", (int)type);
        return false;
    }
    if (element_from_python(type, value_element(value), data)) {
        return true;
    }
    if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "%R is not data of PMIx type %d", data, (int)type);
    }
    value_free(value);
    return false;
}

bool infos_from_python(PyObject *object, pmix_info_t **infos, size_t *count)
{
    PyObject *sequence = PySequence_Fast(object, "infos are a sequence");
    Py_ssize_t size;

    *infos = NULL;
    *count = 0;
    if (sequence == NULL) {
        return false;
    }
    size = PySequence_Fast_GET_SIZE(sequence);
    *infos = size == 0 ? NULL : calloc((size_t)size, sizeof(**infos));
    for (Py_ssize_t i = 0; *infos != NULL && i < size; i++) {
        if (!info_from_python(&(*infos)[i], PySequence_Fast_GET_ITEM(sequence, i))) {
            infos_free(*infos, (size_t)size);
            *infos = NULL;
            Py_DECREF(sequence);
            return false;
        }
    }
    *count = *infos == NULL ? 0 : (size_t)size;
    Py_DECREF(sequence);
    return true;
}

static bool published_from_python(pmix_pdata_t *pdata, PyObject *item)
{
    PyObject *key, *data;
    int type;

    return PyTuple_Check(item) &&
           PyArg_ParseTuple(item, "O&UiO:published data", proc_from_python, &pdata->proc, &key,
                            &type, &data) &&
           text_to_field(pdata->key, sizeof(pdata->key), key) &&
           value_from_python(&pdata->value, (pmix_data_type_t)type, data);
}

bool pdata_from_python(PyObject *object, pmix_pdata_t **pdata, size_t *count)
{
    PyObject *sequence = PySequence_Fast(object, "published data are a sequence");
    Py_ssize_t size;

    *pdata = NULL;
    *count = 0;
    if (sequence == NULL) {
        return false;
    }
    size = PySequence_Fast_GET_SIZE(sequence);
    *pdata = size == 0 ? NULL : calloc((size_t)size, sizeof(**pdata));
    for (Py_ssize_t i = 0; *pdata != NULL && i < size; i++) {
        if (!published_from_python(&(*pdata)[i], PySequence_Fast_GET_ITEM(sequence, i))) {
            pdata_free(*pdata, (size_t)size);
            *pdata = NULL;
            Py_DECREF(sequence);
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_TypeError, "published data are (proc, key, type, data)");
            }
            return false;
        }
    }
    *count = *pdata == NULL ? 0 : (size_t)size;
    Py_DECREF(sequence);
    return true;
}
