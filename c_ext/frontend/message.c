#include "message.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool message_verbose = false;

static void write_line(const char *format, va_list arguments)
{
    char line[8192] = "shim: ";
    size_t used = strlen(line);
    int written = vsnprintf(line + used, sizeof line - used - 1, format, arguments);
    if (written > 0)
        used += (size_t)written;
    if (used > sizeof line - 2)
        used = sizeof line - 2;
    line[used++] = '\n';
    /* Nothing can be done where even stderr is closed. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(format, arguments);
    va_end(arguments);
}

void say_verbose(const char *format, ...)
{
    if (!message_verbose)
        return;
    va_list arguments;
    va_start(arguments, format);
    write_line(format, arguments);
    va_end(arguments);
}

void die(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(format, arguments);
    va_end(arguments);
    exit(code);
}
