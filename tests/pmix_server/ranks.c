/* A rank of the tests: a PMIx client in plain C. What it does is argv[1]; it exits 0 when all
 * that it saw was right, and says on stderr what was not. */
#include "client.h"

#include <sys/wait.h>

/* Data with NULs in it, of a length that depends on the rank. */
static size_t pattern(char *room, uint32_t rank, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        room[i] = (char)((i * 7 + rank) & 0xff);
    }
    return length;
}

static void put(const char *key, uint32_t rank, size_t length, pmix_scope_t scope)
{
    char *room = malloc(length + 1);
    pmix_value_t value;

    memset(&value, 0, sizeof(value));
    value.type = PMIX_BYTE_OBJECT;
    value.data.bo.bytes = room;
    value.data.bo.size = pattern(room, rank, length);
    OK(PMIx_Put(scope, key, &value));
    free(room);
}

static void expect(const char *key, uint32_t rank, size_t length)
{
    char *room = malloc(length + 1);
    pmix_value_t *value = get(rank, key);

    pattern(room, rank, length);
    CHECK(value->type == PMIX_BYTE_OBJECT, "%s of %u has type %d", key, rank, value->type);
    CHECK(value->data.bo.size == length, "%s of %u has %zu bytes, not %zu", key, rank,
          value->data.bo.size, length);
    CHECK(memcmp(value->data.bo.bytes, room, length) == 0, "%s of %u differs", key, rank);
    free(room);
}

/* put, commit, collecting fence, get of everybody. */
static void exchange(size_t length)
{
    put("test.data", me.rank, length + me.rank, PMIX_GLOBAL);
    put("test.remote", me.rank, 5, PMIX_REMOTE);
    put("test.local", me.rank, 5, PMIX_LOCAL);
    OK(PMIx_Commit());
    fence_all(true);
    for (uint32_t rank = 0; rank < size; rank++) {
        expect("test.data", rank, length + rank);
    }
    fence_all(false);
}

/* No collecting fence: the last rank commits late, the others ask at once. */
static void direct(void)
{
    if (me.rank == size - 1) {
        usleep(300000);
    }
    put("test.direct", me.rank, 100, PMIX_GLOBAL);
    OK(PMIx_Commit());
    for (uint32_t rank = 0; rank < size; rank++) {
        expect("test.direct", rank, 100);
    }
    fence_all(false);
}

static void many_fences(unsigned count)
{
    put("test.once", me.rank, 64, PMIX_GLOBAL);
    OK(PMIx_Commit());
    for (unsigned i = 0; i < count; i++) {
        fence_all(i % 16 == 0);
    }
    for (uint32_t rank = 0; rank < size; rank++) {
        expect("test.once", rank, 64);
    }
}

/* The program forks and execs while it is a PMIx client. */
static void fork_heavy(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int status;
        pid_t child = fork();

        if (child == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0, "child failed");
        if (i % 10 == 0) {
            fence_all(false);
        }
    }
}

static void print_value(const char *key, const pmix_value_t *value)
{
    switch (value->type) {
    case PMIX_STRING: printf("%s=%s\n", key, value->data.string); break;
    case PMIX_BOOL: printf("%s=%d\n", key, value->data.flag); break;
    case PMIX_UINT16: printf("%s=%u\n", key, value->data.uint16); break;
    case PMIX_UINT32: printf("%s=%u\n", key, value->data.uint32); break;
    case PMIX_PROC_RANK: printf("%s=%u\n", key, value->data.rank); break;
    default: printf("%s=?type %d\n", key, value->type); break;
    }
}

/* "job:KEY" asks for the job, "N:KEY" for rank N. */
static void show(int count, char **requests)
{
    for (int i = 0; i < count; i++) {
        char *key = strchr(requests[i], ':') + 1;
        bool job = strncmp(requests[i], "job:", 4) == 0;
        pmix_proc_t proc = process(job ? PMIX_RANK_WILDCARD : (uint32_t)atoi(requests[i]));
        pmix_value_t *value = NULL;
        pmix_status_t rc = PMIx_Get(&proc, key, NULL, 0, &value);

        if (rc == PMIX_SUCCESS) {
            print_value(requests[i], value);
        } else {
            printf("%s: %s\n", requests[i], PMIx_Error_string(rc));
        }
    }
}

/* Says how a fence ended. Rank 0 stays away for as long as it is told. */
static void say_fence(unsigned timeout, unsigned absence)
{
    pmix_proc_t all = process(PMIX_RANK_WILDCARD);

    if (me.rank != 0 || absence == 0) {
        printf("%d\n", fence(&all, 1, true, (int)timeout));
    } else {
        sleep(absence);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 1;

    start();
    if (strcmp(what, "exchange") == 0) {
        exchange(count);
    } else if (strcmp(what, "direct") == 0) {
        direct();
    } else if (strcmp(what, "fences") == 0) {
        many_fences(count);
    } else if (strcmp(what, "forks") == 0) {
        fork_heavy(count);
    } else if (strcmp(what, "show") == 0) {
        show(argc - 2, argv + 2);
    } else if (strcmp(what, "timeout") == 0) {
        say_fence(1, 3);
    } else if (strcmp(what, "say") == 0) {
        say_fence(0, 0);
    } else if (strcmp(what, "abort") == 0 && me.rank == 0) {
        PMIx_Abort(42, "test abort", NULL, 0);
    } else if (strcmp(what, "sleep") == 0) {
        sleep(count);
    } else if (strcmp(what, "die") == 0 && me.rank == 0) {
        _exit(3);
    }
    OK(PMIx_Finalize(NULL, 0));
    return 0;
}
