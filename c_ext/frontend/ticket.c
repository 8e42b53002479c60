#include "ticket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

_Noreturn static void malformed(const char *what)
{
    die(EXIT_SHIM, "The agent's answer makes no sense (%s). Front-end and agent are of different "
                   "builds: install shim again.", what);
}

/* A NULL-terminated list that grows. */
static void append(char ***list, size_t *count, char *text)
{
    char **grown = *list;
    if ((*count & (*count - 1)) == 0) /* at 0 and at each power of two */
        grown = realloc(*list, (*count ? *count * 2 : 1) * sizeof *grown + sizeof *grown);
    if (!grown || !text)
        die(EXIT_SHIM, "Out of memory while reading the agent's answer. Ask for more memory.");
    grown[(*count)++] = text;
    grown[*count] = NULL;
    *list = grown;
}

static void take_space(struct ticket *ticket, const struct wire_in *frame, uint32_t flag)
{
    size_t at = ticket->space_count;
    if (at >= frame->fd_count)
        malformed("a namespace without its descriptor");
    ticket->spaces[at] = (struct ticket_space){.flag = flag, .fd = frame->fds[at]};
    ticket->space_count++;
}

static void take_policy(struct ticket *ticket, const struct wire_field *field)
{
    if (field->length < 4)
        malformed("a short memory policy");
    ticket->has_policy = true;
    ticket->policy = wire_field_u32(field);
    ticket->policy_nodes = field->data + 4;
    ticket->policy_bytes = field->length - 4;
}

static void take_capabilities(struct ticket *ticket, const struct wire_field *field)
{
    if (field->length != 24)
        malformed("capability sets");
    ticket->has_capabilities = true;
    ticket->bounding = wire_field_u64(field, 0);
    ticket->inheritable = wire_field_u64(field, 8);
    ticket->ambient = wire_field_u64(field, 16);
}

static void take(struct ticket *ticket, const struct wire_in *frame, const struct wire_field *field)
{
    switch (field->tag) {
    case TAG_NAMESPACE: take_space(ticket, frame, wire_field_u32(field)); break;
    case TAG_ENV: append(&ticket->env, &ticket->env_count, wire_field_text(field)); break;
    case TAG_COMMAND: append(&ticket->argv, &ticket->argv_count, wire_field_text(field)); break;
    case TAG_CWD: ticket->cwd = wire_field_text(field); break;
    case TAG_HOME: ticket->home = wire_field_text(field); break;
    case TAG_CWD_REQUIRED: ticket->cwd_required = wire_field_u32(field); break;
    case TAG_NO_NEW_PRIVS: ticket->no_new_privs = wire_field_u32(field); break;
    case TAG_CAPABILITIES: take_capabilities(ticket, field); break;
    case TAG_UMASK: ticket->has_umask = true; ticket->umask = wire_field_u32(field); break;
    case TAG_CPUS: ticket->cpus = field->data; ticket->cpu_bytes = field->length; break;
    case TAG_MEMORY_POLICY: take_policy(ticket, field); break;
    case TAG_NOTE: say("%s", wire_field_text(field)); break;
    case TAG_KIND: break;
    default: malformed("an unknown field");
    }
}

void ticket_read(const struct wire_in *frame, struct ticket *ticket)
{
    size_t position = 0;
    struct wire_field field;
    *ticket = (struct ticket){0};
    while (wire_next(frame, &position, &field))
        take(ticket, frame, &field);
    if (position != frame->length || ticket->space_count != frame->fd_count)
        malformed("its length");
    if (frame->kind == KIND_FALLBACK && !ticket->argv)
        malformed("a fallback without a command");
    if (!ticket->env)
        append(&ticket->env, &ticket->env_count, strdup("SHIM=1"));
}

const char *ticket_variable(const struct ticket *ticket, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < ticket->env_count; i++)
        if (!strncmp(ticket->env[i], name, length) && ticket->env[i][length] == '=')
            return ticket->env[i] + length + 1;
    return NULL;
}

void ticket_set_variable(struct ticket *ticket, const char *name, const char *value)
{
    size_t length = strlen(name), size = length + strlen(value) + 2;
    char *entry = malloc(size);
    if (entry)
        snprintf(entry, size, "%s=%s", name, value);
    for (size_t i = 0; entry && i < ticket->env_count; i++)
        if (!strncmp(ticket->env[i], name, length) && ticket->env[i][length] == '=') {
            ticket->env[i] = entry;
            return;
        }
    append(&ticket->env, &ticket->env_count, entry);
}
