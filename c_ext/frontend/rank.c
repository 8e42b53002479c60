#include "rank.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "join.h"
#include "message.h"
#include "placement.h"
#include "program.h"
#include "ticket.h"
#include "wire.h"

/* The agent has the same time limit, and knows better what it waits for. */
enum { AGENT_SPEAKS_MS = 3000 };

enum { GUARD_SPEAKS_MS = 3000, LOOK_AGAIN_MS = 20 };

extern char **environ;

/* The directory as the user named it, symbolic links kept, if $PWD is still right: it is what the
 * runtime takes (Go's os.Getwd). */
static const char *working_directory(void)
{
    static char physical[PATH_MAX];
    struct stat here, named;
    const char *logical = getenv("PWD");
    if (logical && *logical == '/' && !stat(logical, &named) && !stat(".", &here) &&
        named.st_dev == here.st_dev && named.st_ino == here.st_ino)
        return logical;
    return getcwd(physical, sizeof physical) ? physical : "/";
}

static mode_t current_umask(void)
{
    mode_t mask = umask(077);
    umask(mask);
    return mask;
}

static void say_hello(const struct rank_order *order)
{
    struct wire_out out;
    size_t bytes = 0;
    unsigned char *cpus = placement_affinity(&bytes);
    wire_begin(&out, KIND_HELLO);
    wire_u32(&out, TAG_PROTOCOL, SHIM_PROTOCOL);
    wire_u32(&out, TAG_RANK, order->rank);
    for (size_t i = 0; i < order->option_count; i++)
        wire_text(&out, TAG_OPTION, order->options[i]);
    for (char **word = order->command; *word; word++)
        wire_text(&out, TAG_COMMAND, *word);
    wire_text(&out, TAG_CWD, working_directory());
    for (char **entry = environ; *entry; entry++)
        wire_text(&out, TAG_ENV, *entry);
    wire_bytes(&out, TAG_CPUS, cpus, bytes);
    wire_u32(&out, TAG_UMASK, (uint32_t)current_umask());
    free(cpus);
    if (!wire_send(order->socket, &out) && errno == EMSGSIZE)
        die(EXIT_SHIM, "Arguments and environment are longer than %u bytes. Make them shorter.",
            SHIM_MAX_FRAME);
    /* Any other failure is seen as the end of the connection, where its cause is known. */
}

/* The agent ended before it answered. The guard knows why and says so; only where it is gone too
 * does one of the waiting ranks speak. Returns if the agent's end was a regular one. */
static void agent_gone(const struct rank_order *order)
{
    char words[512] = "";
    if (!order->meeting)
        die(EXIT_SHIM, "The agent ended before rank %u could start. Run the step again.",
            order->rank);
    for (int waited = 0; waited < GUARD_SPEAKS_MS; waited += LOOK_AGAIN_MS) {
        if (rendezvous_is_over(order->meeting)) {
            if (rendezvous_was_spoken(order->meeting))
                exit(EXIT_SHIM);
            return;
        }
        int other = rendezvous_connect(order->meeting);
        if (other >= 0) { /* another rank was quicker and has started one */
            close(other);
            return;
        }
        poll(NULL, 0, LOOK_AGAIN_MS);
    }
    rendezvous_last_words(order->meeting, words, sizeof words);
    if (rendezvous_may_speak(order->meeting))
        die(EXIT_SHIM, "The agent of %s on node %s ended before its ranks could start%s%s. "
                       "Run the step again; if it happens again, report it with --verbose.",
            order->label, order->node, *words ? ": " : "", words);
    exit(EXIT_SHIM);
}

_Noreturn static void too_slow(const struct rank_order *order)
{
    char words[512] = "";
    if (order->meeting)
        rendezvous_last_words(order->meeting, words, sizeof words);
    if (order->meeting && !rendezvous_may_say(order->meeting, "too slow"))
        exit(EXIT_SHIM);
    die(EXIT_SHIM, "The container did not start within %u s%s%s. "
                   "Give it more time with --start-timeout, or run `shim doctor`.",
        order->timeout, *words ? ": " : "", words);
}

_Noreturn static void refused(const struct wire_in *frame)
{
    size_t position = 0;
    struct wire_field field;
    int code = EXIT_SHIM;
    const char *text = "";
    while (wire_next(frame, &position, &field)) {
        if (field.tag == TAG_EXIT_CODE)
            code = (int)wire_field_u32(&field);
        else if (field.tag == TAG_TEXT)
            text = wire_field_text(&field);
    }
    if (*text)
        die(code, "%s", text);
    exit(code);
}

static void show_progress(const struct wire_in *frame)
{
    size_t position = 0;
    struct wire_field field;
    while (wire_next(frame, &position, &field))
        if (field.tag == TAG_TEXT)
            say("%s", wire_field_text(&field));
}

/* False: there will be none. */
static bool await_answer(const struct rank_order *order, struct wire_in *frame)
{
    int64_t patience = (int64_t)order->timeout * 1000 + AGENT_SPEAKS_MS;
    int64_t deadline = order->timeout ? wire_now() + patience : 0;
    for (;;) {
        switch (wire_receive(order->socket, frame, deadline)) {
        case WIRE_OK: break;
        case WIRE_CLOSED: agent_gone(order); return false;
        case WIRE_TIMEOUT: too_slow(order);
        case WIRE_BROKEN:
            die(EXIT_SHIM, "The agent's answer could not be read: %s. Run the step again.",
                strerror(errno));
        }
        switch (frame->kind) {
        case KIND_PROGRESS: show_progress(frame); wire_free(frame); continue;
        case KIND_REFUSE: refused(frame);
        default: return true;
        }
    }
}

static void report_bound(int socket)
{
    struct wire_out out;
    size_t bytes = 0;
    unsigned char *cpus = placement_affinity(&bytes);
    wire_begin(&out, KIND_BOUND);
    wire_bytes(&out, TAG_CPUS, cpus, bytes);
    wire_u32(&out, TAG_PID, (uint32_t)getpid());
    wire_send(socket, &out);
    free(cpus);
}

_Noreturn static void exec_failed(const struct rank_order *order, const char *program)
{
    int error = errno, socket = order->socket;
    struct wire_out out;
    wire_begin(&out, KIND_EXEC_FAILED);
    wire_u32(&out, TAG_ERRNO, (uint32_t)error);
    wire_text(&out, TAG_TEXT, program);
    wire_send(socket, &out);
    /* What one rank of the node says holds for all that run the same program. */
    if (order->meeting && !rendezvous_may_say(order->meeting, program))
        exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
    if (error == ENOENT && strchr(program, '/') && !access(program, F_OK))
        die(EXIT_NOT_FOUND, "The interpreter or loader of %s is not in the container. "
                            "Check its first line, or that it was built for this image.", program);
    if (error == ENOENT)
        die(EXIT_NOT_FOUND, "The program %s was not found in the container. "
                            "Give its path there, or bind it with --bind.", program);
    if (error == E2BIG)
        die(EXIT_NOT_EXECUTABLE, "Arguments and environment of %s are longer than the kernel takes. "
                                 "Make them shorter, or raise `ulimit -s`.", program);
    die(EXIT_NOT_EXECUTABLE, "The program %s cannot be executed in the container: %s. "
                             "Check its permissions and what machine it was built for.",
        program, strerror(error));
}

void rank_run(const struct rank_order *order)
{
    struct wire_in frame;
    struct ticket ticket;
    fcntl(order->socket, F_SETFD, FD_CLOEXEC);
    say_hello(order);
    if (!await_answer(order, &frame))
        return;
    if (frame.kind != KIND_TICKET && frame.kind != KIND_FALLBACK)
        die(EXIT_SHIM, "The agent answered out of turn. Front-end and agent are of different "
                       "builds: install shim again.");
    ticket_read(&frame, &ticket);
    placement_apply(&ticket);
    if (frame.kind == KIND_TICKET)
        join_container(&ticket);
    report_bound(order->socket);
    char **argv = ticket.argv ? ticket.argv : order->command;
    program_exec(argv, ticket.env, ticket_variable(&ticket, "PATH"));
    exec_failed(order, argv[0]);
}
