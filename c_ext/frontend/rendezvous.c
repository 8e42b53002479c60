#include "rendezvous.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "context.h"
#include "message.h"

enum { ATTEMPTS = 100, BACKLOG = 4096 };

static const char SOCKET[] = "agent.sock";
static const char LOCK[] = "lock";
static const char SAID[] = "said";
static const char LOG[] = "agent.log";

static bool usable(const char *directory)
{
    struct stat info;
    return directory && *directory == '/' && !stat(directory, &info) && S_ISDIR(info.st_mode) &&
           !access(directory, W_OK | X_OK);
}

/* XDG_RUNTIME_DIR goes when the user's last login on the node ends, jobs or no jobs
 * (pam_systemd(8)): it is no place for a Slurm step. */
static const char *base_directory(bool slurm)
{
    const char *chosen = getenv("SHIM_RUNTIME_DIR"), *session = getenv("XDG_RUNTIME_DIR");
    struct stat info;
    if (chosen && *chosen) {
        if (!usable(chosen))
            die(EXIT_SHIM, "SHIM_RUNTIME_DIR is '%s', which is not a directory that you can write "
                           "to. Unset it or name one on this node's local disk.", chosen);
        return chosen;
    }
    if (!slurm && usable(session) && !stat(session, &info) && info.st_uid == geteuid())
        return session;
    if (usable("/tmp"))
        return "/tmp";
    if (usable(getenv("TMPDIR")))
        return getenv("TMPDIR");
    die(EXIT_SHIM, "No directory for the agent's socket: /tmp is not writable. "
                   "Set SHIM_RUNTIME_DIR to a directory on this node's local disk.");
}

/* Opens a directory that only this user can have put things into, making it if need be. */
static int open_private(int parent, const char *name, const char *shown)
{
    struct stat info;
    if (mkdirat(parent, name, 0700) && errno != EEXIST) {
        if (errno == ENOENT)
            return -1; /* the parent was removed meanwhile: try again */
        die(EXIT_SHIM, "Cannot make the directory %s: %s. "
                       "Free space there or set SHIM_RUNTIME_DIR to another directory.",
            shown, strerror(errno));
    }
    int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 && errno == ENOENT)
        return -1; /* removed meanwhile: try again */
    if (dir < 0 || fstat(dir, &info))
        die(EXIT_SHIM, "Cannot open the directory %s: %s. "
                       "Remove it or set SHIM_RUNTIME_DIR to another directory.",
            shown, strerror(errno));
    if (info.st_uid != geteuid() || (info.st_mode & 077))
        die(EXIT_SHIM, "The directory %s belongs to another user or is open to others. "
                       "Remove it or set SHIM_RUNTIME_DIR to another directory.", shown);
    return dir;
}

static bool open_step(struct rendezvous *meeting, bool slurm)
{
    const char *base = base_directory(slurm);
    char user[40];
    snprintf(user, sizeof user, "shim-%ld", (long)geteuid());
    int written = snprintf(meeting->path, sizeof meeting->path, "%s/%s/%s", base, user, meeting->key);
    if (written >= (int)sizeof meeting->path)
        die(EXIT_SHIM, "The path %.80s... is too long. "
                       "Set SHIM_RUNTIME_DIR to a shorter directory.", base);
    int parent = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        die(EXIT_SHIM, "Cannot open the directory %s: %s. Set SHIM_RUNTIME_DIR to another "
                       "directory.", base, strerror(errno));
    char shown[PATH_MAX];
    snprintf(shown, sizeof shown, "%.*s", (int)(strlen(meeting->path) - strlen(meeting->key) - 1),
             meeting->path);
    meeting->user_dir = open_private(parent, user, shown);
    close(parent);
    if (meeting->user_dir < 0)
        return false;
    meeting->dir = open_private(meeting->user_dir, meeting->key, meeting->path);
    if (meeting->dir < 0)
        close(meeting->user_dir);
    return meeting->dir >= 0;
}

static int take_lock(int dir, int operation)
{
    struct stat info;
    int lock = openat(dir, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return -1;
    while (flock(lock, operation)) {
        if (errno == EINTR)
            continue;
        close(lock);
        return -1;
    }
    /* The last holder may have removed the directory: then this lock guards nothing. */
    if (fstat(lock, &info) || info.st_nlink == 0) {
        close(lock);
        errno = ENOENT;
        return -1;
    }
    return lock;
}

/* The socket's address through the open directory: sun_path holds 108 bytes, and the directory's
 * own path may be longer. */
static socklen_t address_of(int dir, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", dir, SOCKET);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length + 1);
}

static int connect_in(int dir)
{
    struct sockaddr_un address;
    socklen_t length = address_of(dir, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    while (connect(fd, (struct sockaddr *)&address, length)) {
        if (errno == EINTR)
            continue;
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int rendezvous_connect(const struct rendezvous *meeting)
{
    return connect_in(meeting->dir);
}

static void empty_directory(int dir)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list)
        return;
    for (struct dirent *entry; (entry = readdir(list));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || !strcmp(entry->d_name, LOCK))
            continue;
        if (!unlinkat(dir, entry->d_name, 0) || errno != EISDIR)
            continue;
        int inner = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0) {
            empty_directory(inner);
            unlinkat(inner, LOCK, 0);
            close(inner);
            unlinkat(dir, entry->d_name, AT_REMOVEDIR);
        }
    }
    closedir(list);
}

static int listen_in(const struct rendezvous *meeting)
{
    struct sockaddr_un address;
    socklen_t length = address_of(meeting->dir, &address);
    /* What a dead agent left must not speak for the new one. */
    empty_directory(meeting->dir);
    if (ftruncate(meeting->lock, 0))
        say_verbose("Cannot clear %s/%s: %s.", meeting->path, LOCK, strerror(errno));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) || listen(fd, BACKLOG))
        die(EXIT_SHIM, "Cannot make the agent's socket in %s: %s. Free space there or set "
                       "SHIM_RUNTIME_DIR to a directory on this node's local disk.",
            meeting->path, strerror(errno));
    return fd;
}

void rendezvous_meet(struct rendezvous *meeting, const char *key, bool slurm,
                     int *connection, int *listener)
{
    meeting->key = key;
    *connection = *listener = -1;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (!open_step(meeting, slurm))
            continue;
        meeting->lock = take_lock(meeting->dir, LOCK_EX);
        if (meeting->lock >= 0) {
            meeting->mark = fcntl(meeting->lock, F_DUPFD_CLOEXEC, 0);
            *connection = rendezvous_connect(meeting);
            if (*connection >= 0)
                rendezvous_unlock(meeting);
            else
                *listener = listen_in(meeting);
            return;
        }
        if (errno != ENOENT)
            break;
        close(meeting->dir);
        close(meeting->user_dir);
    }
    die(EXIT_SHIM, "Cannot lock %s/%s: %s. Free space there or set SHIM_RUNTIME_DIR to a directory "
                   "on this node's local disk.", meeting->path, LOCK, strerror(errno));
}

void rendezvous_unlock(struct rendezvous *meeting)
{
    if (meeting->lock < 0)
        return;
    /* A forked guard may hold a copy of this descriptor: unlock it, do not only close it. */
    flock(meeting->lock, LOCK_UN);
    close(meeting->lock);
    meeting->lock = -1;
}

bool rendezvous_may_say(const struct rendezvous *meeting, const char *what)
{
    char name[40];
    snprintf(name, sizeof name, "%s-%016llx", SAID, (unsigned long long)context_hash(what));
    int fd = openat(meeting->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    /* A full disk must not silence us; EEXIST and a removed directory do. */
    return fd >= 0 || (errno != EEXIST && errno != ENOENT);
}

bool rendezvous_may_speak(const struct rendezvous *meeting)
{
    bool may = rendezvous_may_say(meeting, "");
    int lock = openat(meeting->dir, LOCK, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (lock >= 0 && ftruncate(lock, 1)) /* needs no block of a full disk */
        say_verbose("Cannot mark %s: %s.", meeting->path, strerror(errno));
    if (lock >= 0)
        close(lock);
    return may;
}

bool rendezvous_was_spoken(const struct rendezvous *meeting)
{
    struct stat info;
    return !fstat(meeting->mark, &info) && info.st_size > 0;
}

void rendezvous_leave(struct rendezvous *meeting)
{
    close(meeting->mark);
    close(meeting->dir);
    close(meeting->user_dir);
}

bool rendezvous_is_over(const struct rendezvous *meeting)
{
    struct stat info;
    return fstatat(meeting->dir, LOCK, &info, AT_SYMLINK_NOFOLLOW) && errno == ENOENT;
}

void rendezvous_last_words(const struct rendezvous *meeting, char *line, int size)
{
    char text[2048];
    *line = '\0';
    int fd = openat(meeting->dir, LOG, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    off_t end = lseek(fd, 0, SEEK_END);
    off_t start = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
    ssize_t length = pread(fd, text, sizeof text - 1, start);
    close(fd);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    if (length <= 0)
        return;
    text[length] = '\0';
    char *last = strrchr(text, '\n');
    snprintf(line, (size_t)size, "%s", last ? last + 1 : text);
}

/* The agent lets its ranks' shared memory be in a directory of the step's own name
 * (shim/agent/shared_memory.py): ranks that were killed leave theirs behind. */
static void remove_shared_memory(const char *key)
{
    char name[PATH_MAX];
    struct stat info;
    int parent = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(name, sizeof name, "shim-%ld.%s", (long)geteuid(), key);
    int dir = parent < 0 ? -1 : openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir >= 0 && !fstat(dir, &info) && info.st_uid == geteuid()) {
        empty_directory(dir);
        unlinkat(parent, name, AT_REMOVEDIR);
    }
    if (dir >= 0)
        close(dir);
    if (parent >= 0)
        close(parent);
}

/* With the lock held: nobody can be between looking for an agent and becoming one. */
static void remove_locked(int user_dir, int dir, const char *key)
{
    remove_shared_memory(key);
    empty_directory(dir);
    unlinkat(dir, LOCK, 0);
    unlinkat(user_dir, key, AT_REMOVEDIR);
}

/* The directory of the user's steps goes with the last of them. */
static void remove_user_directory(const struct rendezvous *meeting)
{
    char path[PATH_MAX];
    size_t length = strlen(meeting->path) - strlen(meeting->key) - 1;
    snprintf(path, sizeof path, "%.*s", (int)length, meeting->path);
    rmdir(path); /* not empty: another step is there */
}

void rendezvous_remove(struct rendezvous *meeting)
{
    meeting->lock = take_lock(meeting->dir, LOCK_EX);
    if (meeting->lock < 0)
        return;
    /* Another agent may have taken the place of a dead one. */
    int other = rendezvous_connect(meeting);
    if (other >= 0)
        close(other);
    else
        remove_locked(meeting->user_dir, meeting->dir, meeting->key);
    rendezvous_unlock(meeting);
    remove_user_directory(meeting);
}

static void sweep_one(int user_dir, const char *key)
{
    int dir = openat(user_dir, key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return;
    int lock = take_lock(dir, LOCK_EX | LOCK_NB);
    if (lock >= 0) {
        int served = connect_in(dir);
        if (served >= 0)
            close(served);
        else
            remove_locked(user_dir, dir, key);
        close(lock);
    }
    close(dir);
}

void rendezvous_sweep(const struct rendezvous *meeting)
{
    int copy = openat(meeting->user_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list)
        return;
    for (struct dirent *entry; (entry = readdir(list));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, meeting->key))
            sweep_one(meeting->user_dir, entry->d_name);
    closedir(list);
}
