/* What the user reads on stderr. */
#ifndef SHIM_MESSAGE_H
#define SHIM_MESSAGE_H

#include <stdbool.h>

/* Exit codes of our own (docs/exit-codes.md). */
enum { EXIT_SHIM = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

extern bool message_verbose;

/* Writes "shim: TEXT\n" in one write, so that lines of many ranks do not mix. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_verbose(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
