/* Loading libpmix: the file itself for the server, a private copy for the client. */
#include "pmixcore.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static struct library server_library, client_library;
static const struct library *tables[ROLE_COUNT];

const struct library *library_of(enum role role)
{
    if (tables[role] == NULL) {
        PyErr_Format(PyExc_RuntimeError, "no libpmix is loaded for the %s role",
                     role == ROLE_SERVER ? "server" : "client");
    }
    return tables[role];
}

/* dlsym's object pointer becomes a function pointer: defined by POSIX, not by C. */
static void resolve(void *handle, const char *name, void *slot)
{
    void *symbol = dlsym(handle, name);

    memcpy(slot, &symbol, sizeof(symbol));
}

/* Name of the first function that the library lacks, or NULL. */
static const char *fill_table(struct library *library, void *handle)
{
    const char *missing = NULL;

    memset(library, 0, sizeof(*library));
    library->handle = handle;
#define PMIXCORE_RESOLVE(name, required)                                                 \
    resolve(handle, #name, &library->name);                                              \
    if (library->name == NULL && (required) && missing == NULL) {                        \
        missing = #name;                                                                 \
    }
    PMIXCORE_FUNCTIONS(PMIXCORE_RESOLVE)
#undef PMIXCORE_RESOLVE
    resolve(handle, "PMIx_tool_set_server_module", &library->PMIx_tool_set_server_module);
    return missing;
}

/* A descriptor of memory holding the file's bytes: a different inode, hence for the
 * dynamic linker a different library. -1 with errno. */
static int copy_to_memory(const char *path)
{
    struct stat status;
    int memory = -1, file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0 || fstat(file, &status) < 0) {
        goto done;
    }
    memory = memfd_create("libpmix-client", MFD_CLOEXEC);
    for (off_t left = status.st_size; memory >= 0 && left > 0;) {
        ssize_t moved = sendfile(memory, file, NULL, (size_t)left);

        if (moved <= 0) {
            close(memory);
            memory = -1;
        }
        left -= moved;
    }
done:
    if (file >= 0) {
        close(file);
    }
    return memory;
}

/* Keeps the copy to its own symbols even where a libpmix is in the global scope.
 * AddressSanitizer, which puts itself in front of everything, refuses it. */
#ifdef __SANITIZE_ADDRESS__
#define OWN_SYMBOLS 0
#else
#define OWN_SYMBOLS RTLD_DEEPBIND
#endif

static void *open_private_copy(const char *path)
{
    char name[64];
    void *original, *copy;
    int memory = copy_to_memory(path);

    if (memory < 0) {
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
        return NULL;
    }
    snprintf(name, sizeof(name), "/proc/self/fd/%d", memory);
    /* The copy has lost its $ORIGIN, so libraries that lie beside the original
     * (wheels) are only found if they are already loaded, under the same soname. */
    original = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    copy = original == NULL ? NULL : dlopen(name, RTLD_NOW | RTLD_LOCAL | OWN_SYMBOLS);
    if (copy == NULL) {
        PyErr_Format(PyExc_OSError, "%s", dlerror());
    }
    if (original != NULL) {
        dlclose(original);
    }
    close(memory);
    return copy;
}

/* RTLD_LOCAL: the library's plugins name it as needed, so they find its symbols, and
 * the private copy must not see them. */
static void *open_library(const char *path, int private_copy)
{
    void *handle;

    if (private_copy) {
        return open_private_copy(path);
    }
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        PyErr_Format(PyExc_OSError, "%s", dlerror());
    }
    return handle;
}

/* load(role, path, private) -> version text */
PyObject *py_load(PyObject *Py_UNUSED(self), PyObject *args)
{
    struct library *library;
    const char *path, *missing;
    int role, private_copy;
    void *handle;

    if (!PyArg_ParseTuple(args, "isp:load", &role, &path, &private_copy)) {
        return NULL;
    }
    if (role < 0 || role >= ROLE_COUNT || tables[role] != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this role has its libpmix already");
        return NULL;
    }
    handle = open_library(path, private_copy);
    if (handle == NULL) {
        return NULL;
    }
    library = role == ROLE_SERVER ? &server_library : &client_library;
    missing = fill_table(library, handle);
    if (missing != NULL) {
        PyErr_Format(PyExc_OSError, "%s has no function %s", path, missing);
        dlclose(handle);
        return NULL;
    }
    tables[role] = library;
    return PyUnicode_FromString(library->PMIx_Get_version());
}

/* share(): the server's library is the client's too (launcher mode). */
PyObject *py_share(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(noargs))
{
    const struct library *library = library_of(ROLE_SERVER);

    if (library == NULL) {
        return NULL;
    }
    tables[ROLE_CLIENT] = library;
    Py_RETURN_NONE;
}

/* error_string(status): libpmix's own name for a status, "" if none is loaded. */
PyObject *py_error_string(PyObject *Py_UNUSED(self), PyObject *args)
{
    int status;

    if (!PyArg_ParseTuple(args, "i:error_string", &status)) {
        return NULL;
    }
    for (int role = 0; role < ROLE_COUNT; role++) {
        if (tables[role] != NULL) {
            return PyUnicode_FromString(tables[role]->PMIx_Error_string(status));
        }
    }
    return PyUnicode_FromString("");
}
