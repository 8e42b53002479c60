/* The Python interpreter that runs everything but the hot path. */
#ifndef SHIM_PYTHON_H
#define SHIM_PYTHON_H

/* Replaces this process by `PYTHON -m MODULE ARGUMENTS...`; returns only on failure, errno set. */
void python_exec(const char *module, char *const *arguments);

/* The interpreter's path or, to be found on PATH, its name. */
const char *python_path(void);

#endif
