#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LENGTH_BYTES = 4, FIELD_BYTES = 8 };

static void put_u32(unsigned char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_number(const unsigned char *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static bool reserve(struct wire_out *out, size_t more)
{
    if (out->failed || out->length + more > (size_t)SHIM_MAX_FRAME + LENGTH_BYTES) {
        errno = out->failed ? errno : EMSGSIZE;
        out->failed = true;
        return false;
    }
    if (out->length + more <= out->capacity)
        return true;
    size_t capacity = (out->length + more) * 2;
    unsigned char *data = realloc(out->data, capacity);
    if (!data) {
        out->failed = true;
        return false;
    }
    out->data = data;
    out->capacity = capacity;
    return true;
}

void wire_begin(struct wire_out *out, enum shim_kind kind)
{
    *out = (struct wire_out){0};
    if (reserve(out, LENGTH_BYTES))
        out->length = LENGTH_BYTES;
    wire_u32(out, TAG_KIND, kind);
}

void wire_bytes(struct wire_out *out, enum shim_tag tag, const void *data, size_t length)
{
    if (!reserve(out, FIELD_BYTES + length))
        return;
    unsigned char *at = out->data + out->length;
    put_u32(at, tag); /* u16 tag, u16 zero */
    put_u32(at + 4, (uint32_t)length);
    if (length)
        memcpy(at + FIELD_BYTES, data, length);
    out->length += FIELD_BYTES + length;
}

void wire_text(struct wire_out *out, enum shim_tag tag, const char *text)
{
    wire_bytes(out, tag, text, strlen(text));
}

void wire_u32(struct wire_out *out, enum shim_tag tag, uint32_t value)
{
    unsigned char bytes[4];
    put_u32(bytes, value);
    wire_bytes(out, tag, bytes, sizeof bytes);
}

bool wire_send(int fd, struct wire_out *out)
{
    bool sent = !out->failed;
    if (sent)
        put_u32(out->data, (uint32_t)(out->length - LENGTH_BYTES));
    for (size_t done = 0; sent && done < out->length;) {
        ssize_t count = send(fd, out->data + done, out->length - done, MSG_NOSIGNAL);
        if (count > 0)
            done += (size_t)count;
        else if (count < 0 && errno != EINTR)
            sent = false;
    }
    int error = errno;
    free(out->data);
    *out = (struct wire_out){0};
    errno = error;
    return sent;
}

int64_t wire_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum wire_result wait_readable(int fd, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline ? deadline - wire_now() : -1;
        if (deadline && left <= 0)
            return WIRE_TIMEOUT;
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        int ready = poll(&entry, 1, deadline ? (int)left : -1);
        if (ready > 0)
            return WIRE_OK;
        if (ready < 0 && errno != EINTR)
            return WIRE_BROKEN;
    }
}

static void take_fds(struct wire_in *in, struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            if (in->fd_count < WIRE_MAX_FDS)
                in->fds[in->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

static enum wire_result read_exactly(int fd, struct wire_in *in, void *to, size_t size, int64_t deadline)
{
    for (size_t done = 0; done < size;) {
        union {
            struct cmsghdr align;
            char room[CMSG_SPACE(WIRE_MAX_FDS * sizeof(int))];
        } control;
        struct iovec part = {.iov_base = (char *)to + done, .iov_len = size - done};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
                                 .msg_control = &control, .msg_controllen = sizeof control};
        enum wire_result ready = wait_readable(fd, deadline);
        if (ready != WIRE_OK)
            return ready;
        ssize_t count = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (count == 0 || (count < 0 && errno == ECONNRESET))
            return WIRE_CLOSED;
        if (count < 0 && errno != EINTR)
            return WIRE_BROKEN;
        if (count > 0) {
            take_fds(in, &message);
            done += (size_t)count;
        }
    }
    return WIRE_OK;
}

static bool read_kind(struct wire_in *in)
{
    size_t position = 0;
    struct wire_field field;
    if (!wire_next(in, &position, &field) || field.tag != TAG_KIND || field.length != 4)
        return false;
    in->kind = (enum shim_kind)wire_field_u32(&field);
    return true;
}

enum wire_result wire_receive(int fd, struct wire_in *in, int64_t deadline)
{
    unsigned char header[LENGTH_BYTES];
    *in = (struct wire_in){0};
    enum wire_result result = read_exactly(fd, in, header, sizeof header, deadline);
    if (result != WIRE_OK)
        return result;
    in->length = (size_t)get_number(header, sizeof header);
    if (in->length > SHIM_MAX_FRAME)
        return WIRE_BROKEN;
    in->data = malloc(in->length + 1);
    if (!in->data)
        return WIRE_BROKEN;
    result = read_exactly(fd, in, in->data, in->length, deadline);
    return result == WIRE_OK && !read_kind(in) ? WIRE_BROKEN : result;
}

void wire_free(struct wire_in *in)
{
    for (size_t i = 0; i < in->fd_count; i++)
        close(in->fds[i]);
    free(in->data);
    *in = (struct wire_in){0};
}

bool wire_next(const struct wire_in *in, size_t *position, struct wire_field *field)
{
    if (in->length - *position < FIELD_BYTES)
        return false;
    const unsigned char *at = in->data + *position;
    field->tag = (enum shim_tag)get_number(at, 2);
    field->length = (size_t)get_number(at + 4, 4);
    field->data = at + FIELD_BYTES;
    *position += FIELD_BYTES;
    if (field->length > in->length - *position)
        return false;
    *position += field->length;
    return true;
}

uint32_t wire_field_u32(const struct wire_field *field)
{
    return field->length < 4 ? 0 : (uint32_t)get_number(field->data, 4);
}

uint64_t wire_field_u64(const struct wire_field *field, size_t at)
{
    return field->length < at + 8 ? 0 : get_number(field->data + at, 8);
}

char *wire_field_text(const struct wire_field *field)
{
    char *text = malloc(field->length + 1);
    if (text) {
        memcpy(text, field->data, field->length);
        text[field->length] = '\0';
    }
    return text;
}
