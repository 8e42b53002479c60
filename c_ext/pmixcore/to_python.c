/* Python objects from PMIx values.
 *
 * A value is (type number, data): int, bool, float, str, bytes for the byte object and
 * its kin, (namespace, rank) for a process, and for a data array (element type, [data]).
 * NotImplemented stands for a value whose type is not handled. */
#include "pmixcore.h"

#include <string.h>
#include <sys/time.h>

/* Text of a rank is not promised to be UTF-8: undecodable bytes survive as surrogates. */
static PyObject *text_to_python(const char *text)
{
    if (text == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "surrogateescape");
}

static double load_real(pmix_data_type_t type, const void *element)
{
    struct timeval time;
    double real;
    float small;

    if (type == PMIX_TIMEVAL) {
        memcpy(&time, element, sizeof(time));
        return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
    }
    if (type == PMIX_FLOAT) {
        memcpy(&small, element, sizeof(small));
        return small;
    }
    memcpy(&real, element, sizeof(real));
    return real;
}

static PyObject *scalar_to_python(pmix_data_type_t type, enum scalar_kind kind,
                                  const void *element)
{
    size_t size = element_size(type);

    switch (kind) {
    case SCALAR_BOOL: return PyBool_FromLong(*(const unsigned char *)element != 0);
    case SCALAR_REAL: return PyFloat_FromDouble(load_real(type, element));
    case SCALAR_SIGNED: return PyLong_FromLongLong(load_signed(element, size));
    default: return PyLong_FromUnsignedLongLong(load_unsigned(element, size));
    }
}

static PyObject *element_to_python(pmix_data_type_t type, const void *element);

static PyObject *array_to_python(const pmix_data_array_t *array)
{
    size_t size = element_size(array->type);
    PyObject *list = PyList_New((Py_ssize_t)array->size);

    for (size_t i = 0; list != NULL && i < array->size; i++) {
        PyObject *item = element_to_python(array->type, (const char *)array->array + i * size);

        if (item == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        }
    }
    return list == NULL ? NULL : Py_BuildValue("(iN)", (int)array->type, list);
}

static PyObject *proc_info_to_python(const pmix_proc_info_t *info)
{
    return Py_BuildValue("(NNNiii)", proc_to_python(&info->proc), text_to_python(info->hostname),
                         text_to_python(info->executable_name), (int)info->pid, info->exit_code,
                         (int)info->state);
}

static PyObject *envar_to_python(const pmix_envar_t *envar)
{
    return Py_BuildValue("(NNi)", text_to_python(envar->envar), text_to_python(envar->value),
                         (int)(unsigned char)envar->separator);
}

static PyObject *info_to_python(const pmix_info_t *info)
{
    PyObject *value = value_to_python(&info->value), *result;

    if (value == NULL) {
        return NULL;
    }
    result = Py_BuildValue("(NOO)", text_to_python(info->key), PyTuple_GET_ITEM(value, 0),
                           PyTuple_GET_ITEM(value, 1));
    Py_DECREF(value);
    return result;
}

static PyObject *element_to_python(pmix_data_type_t type, const void *element)
{
    const pmix_byte_object_t *bytes = element;
    enum scalar_kind kind;

    switch (type) {
    case PMIX_STRING: return text_to_python(*(char *const *)element);
    case PMIX_BYTE_OBJECT:
    case PMIX_REGEX:
    case PMIX_COMPRESSED_STRING:
    case PMIX_COMPRESSED_BYTE_OBJECT:
        return PyBytes_FromStringAndSize(bytes->bytes, (Py_ssize_t)bytes->size);
    case PMIX_ENVAR: return envar_to_python(element);
    case PMIX_PROC: return proc_to_python(element);
    case PMIX_PROC_NSPACE: return text_to_python(element);
    case PMIX_PROC_INFO: return proc_info_to_python(element);
    case PMIX_INFO: return info_to_python(element);
    case PMIX_VALUE: return value_to_python(element);
    case PMIX_DATA_ARRAY: return array_to_python(element);
    default: break;
    }
    if (scalar_kind_of(type, &kind)) {
        return scalar_to_python(type, kind, element);
    }
    return Py_NewRef(Py_NotImplemented);
}

PyObject *value_to_python(const pmix_value_t *value)
{
    const void *element = value_element(value);

    if (value->type == PMIX_UNDEF && value->data.uint16 != PMIX_UNDEF) {
        return Py_BuildValue("(iO)", (int)value->data.uint16, Py_NotImplemented);
    }
    if (value->type == PMIX_UNDEF || element == NULL) {
        return Py_BuildValue("(iO)", (int)value->type, Py_None);
    }
    return Py_BuildValue("(iN)", (int)value->type, element_to_python(value->type, element));
}

PyObject *infos_to_python(const pmix_info_t *infos, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);

    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = info_to_python(&infos[i]);

        if (item == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        }
    }
    return list;
}

PyObject *proc_to_python(const pmix_proc_t *proc)
{
    return Py_BuildValue("(NI)", text_to_python(proc->nspace), (unsigned)proc->rank);
}

PyObject *procs_to_python(const pmix_proc_t *procs, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);

    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = proc_to_python(&procs[i]);

        if (item == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        }
    }
    return list;
}

PyObject *strings_to_python(char *const *strings)
{
    PyObject *list = PyList_New(0);

    for (; list != NULL && strings != NULL && *strings != NULL; strings++) {
        PyObject *text = text_to_python(*strings);

        if (text == NULL || PyList_Append(list, text) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(text);
    }
    return list;
}

PyObject *queries_to_python(const pmix_query_t *queries, size_t count)
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *query = Py_BuildValue("(NN)", strings_to_python(queries[i].keys),
                                        infos_to_python(queries[i].qualifiers, queries[i].nqual));

        if (query == NULL || PyList_Append(list, query) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(query);
    }
    return list;
}
