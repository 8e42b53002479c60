/* Frames between front-end and agent; shim/ticket.py says what passes, shim/ticket_wire.py how. */
#ifndef SHIM_WIRE_H
#define SHIM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim_options.h"

enum { WIRE_MAX_FDS = 16 };

/* A frame being written. A failed allocation is kept in *failed* until the frame is sent. */
struct wire_out {
    unsigned char *data;
    size_t length, capacity;
    bool failed;
};

void wire_begin(struct wire_out *out, enum shim_kind kind);
void wire_bytes(struct wire_out *out, enum shim_tag tag, const void *data, size_t length);
void wire_text(struct wire_out *out, enum shim_tag tag, const char *text);
void wire_u32(struct wire_out *out, enum shim_tag tag, uint32_t value);
/* Sends the frame and frees it. False: errno says why. */
bool wire_send(int fd, struct wire_out *out);

/* A frame that was received. */
struct wire_in {
    enum shim_kind kind;
    unsigned char *data;
    size_t length;
    int fds[WIRE_MAX_FDS];
    size_t fd_count;
};

enum wire_result { WIRE_OK, WIRE_CLOSED, WIRE_TIMEOUT, WIRE_BROKEN };

/* Waits for a whole frame, at most until *deadline* (CLOCK_MONOTONIC, ms; 0: for ever). */
enum wire_result wire_receive(int fd, struct wire_in *in, int64_t deadline);
void wire_free(struct wire_in *in);

struct wire_field {
    enum shim_tag tag;
    const unsigned char *data;
    size_t length;
};

/* Steps through the fields: *position* starts at 0; false at the end. */
bool wire_next(const struct wire_in *in, size_t *position, struct wire_field *field);
uint32_t wire_field_u32(const struct wire_field *field);
uint64_t wire_field_u64(const struct wire_field *field, size_t at);
/* A NUL-terminated copy, never freed: it lives until execve. */
char *wire_field_text(const struct wire_field *field);

int64_t wire_now(void); /* CLOCK_MONOTONIC in ms */

#endif
