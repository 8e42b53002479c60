/* A module for the tests of values between Python and PMIx, without libpmix: from Python, copied
 * as an upcall copies them, and back. Built with the sanitizers. */
#include "pmixcore.h"

static PyObject *roundtrip(PyObject *self, PyObject *sequence)
{
    pmix_info_t *infos, *copies;
    size_t count;
    PyObject *result;

    (void)self;
    if (!infos_from_python(sequence, &infos, &count)) {
        return NULL;
    }
    copies = infos_copy(infos, count);
    infos_free(infos, count);
    if (copies == NULL) {
        return PyErr_NoMemory();
    }
    result = infos_to_python(copies, count);
    infos_free(copies, count);
    return result;
}

/* A value of any type number whose content is garbage: must be copied without a look inside. */
static PyObject *foreign(PyObject *self, PyObject *number)
{
    pmix_value_t value, copy;
    PyObject *result;

    (void)self;
    memset(&value, 0xAA, sizeof(value));
    value.type = (pmix_data_type_t)PyLong_AsLong(number);
    if (PyErr_Occurred() || !value_copy(&copy, &value)) {
        return NULL;
    }
    result = value_to_python(&copy);
    value_free(&copy);
    return result;
}

static PyMethodDef methods[] = {
    {"roundtrip", roundtrip, METH_O, NULL},
    {"foreign", foreign, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "values_probe", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_values_probe(void)
{
    return PyModule_Create(&definition);
}
