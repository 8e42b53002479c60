/* Where the processes of one step meet on one node, and who of them starts the agent.
 *
 *   BASE/shim-UID/KEY/   lock  agent.sock  agent.log  said-HASH
 *
 * The holder of the lock looks for a listening agent and, where there is none, becomes the one
 * that starts it; the lock goes with its holder, whatever kills it. */
#ifndef SHIM_RENDEZVOUS_H
#define SHIM_RENDEZVOUS_H

#include <limits.h>
#include <stdbool.h>

struct rendezvous {
    char path[PATH_MAX]; /* of the step's directory */
    const char *key;     /* its last part */
    int user_dir;        /* BASE/shim-UID */
    int dir;             /* the step's directory */
    int lock;            /* held after an election that was won, else -1 */
    int mark;            /* the lock's file, also after it was removed: not empty once the agent's
                            death was told */
};

/* Either an agent listens, and *connection* is open to it (listener is -1), or this process has
 * won: *listener* listens, and the lock is held until rendezvous_unlock. Does not return on
 * failure. */
void rendezvous_meet(struct rendezvous *meeting, const char *key, bool slurm,
                     int *connection, int *listener);
int rendezvous_connect(const struct rendezvous *meeting); /* -1: nobody listens */
void rendezvous_unlock(struct rendezvous *meeting);

/* True once per directory: the sentence about the agent's death is said by one process. */
bool rendezvous_may_speak(const struct rendezvous *meeting);
/* The same for any other sentence: each *what* once. */
bool rendezvous_may_say(const struct rendezvous *meeting, const char *what);
bool rendezvous_was_spoken(const struct rendezvous *meeting);
/* Lets go of a meeting that came too late, before the next rendezvous_meet. */
void rendezvous_leave(struct rendezvous *meeting);
/* True when the directory was removed, that is, when the guard has finished. */
bool rendezvous_is_over(const struct rendezvous *meeting);
/* The last line of the agent's log, or "". */
void rendezvous_last_words(const struct rendezvous *meeting, char *line, int size);

/* Removes the step's directory. */
void rendezvous_remove(struct rendezvous *meeting);
/* Removes the directories of this user's steps that nobody serves any more. */
void rendezvous_sweep(const struct rendezvous *meeting);

#endif
