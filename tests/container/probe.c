/* Prints what a process can know about itself, one JSON object, as a static program that needs
 * nothing of an image. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void text(const char *bytes, size_t length)
{
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void file(const char *key, const char *path)
{
    static char data[1 << 20];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = 0, count;
    while (fd >= 0 && (count = read(fd, data + length, sizeof data - (size_t)length)) > 0)
        length += count;
    if (fd >= 0)
        close(fd);
    printf("\"%s\": ", key);
    text(data, (size_t)length);
    puts(",");
}

static void links(const char *key, const char *directory)
{
    DIR *list = opendir(directory);
    const char *comma = "";
    printf("\"%s\": {", key);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char target[4096];
        ssize_t length = readlinkat(dirfd(list), entry->d_name, target, sizeof target);
        if (length < 0 || atoi(entry->d_name) == dirfd(list))
            continue;
        printf("%s\"%s\": ", comma, entry->d_name);
        text(target, (size_t)length);
        comma = ", ";
    }
    puts("},");
    if (list)
        closedir(list);
}

static void environment(void)
{
    const char *comma = "";
    printf("\"environment\": [");
    for (char **entry = environ; *entry; entry++) {
        printf("%s", comma);
        text(*entry, strlen(*entry));
        comma = ",\n";
    }
    puts("],");
}

static void signals(void)
{
    /* Before anything of libc changes them. */
    file("status", "/proc/self/status");
}

int main(void)
{
    char cwd[4096], host[256];
    puts("{");
    signals();
    environment();
    links("namespaces", "/proc/self/ns");
    links("descriptors", "/proc/self/fd");
    file("mountinfo", "/proc/self/mountinfo");
    file("limits", "/proc/self/limits");
    file("cgroup", "/proc/self/cgroup");
    file("uid_map", "/proc/self/uid_map");
    file("gid_map", "/proc/self/gid_map");
    file("setgroups", "/proc/self/setgroups");
    file("oom_score_adj", "/proc/self/oom_score_adj");
    mode_t mask = umask(0);
    if (!getcwd(cwd, sizeof cwd))
        strcpy(cwd, "?");
    gethostname(host, sizeof host);
    printf("\"umask\": %d, \"securebits\": %d, \"dumpable\": %d, \"priority\": %d, "
           "\"scheduler\": %d,\n\"cwd\": ",
           (int)mask, prctl(PR_GET_SECUREBITS), prctl(PR_GET_DUMPABLE),
           getpriority(PRIO_PROCESS, 0), sched_getscheduler(0));
    text(cwd, strlen(cwd));
    printf(",\n\"host\": ");
    text(host, strlen(host));
    puts("}");
    return 0;
}
