/*
 * hybrid: an MPI + OpenMP program that says where it really runs.
 *
 * Every rank writes one line of JSON: who it is to MPI, which process and which namespaces it
 * is, and for each of its OpenMP threads the affinity mask that the kernel holds and the PU on
 * which the thread was seen; "affinity" is what its threads may use together.  Rank 0 gathers the lines and prints them in rank order, so that
 * no launcher can interleave them.
 *
 * The program checks itself: an all-reduce over the ranks, a ring exchange of messages that are
 * larger than any eager limit (the path which breaks when ranks of a node do not share a user
 * namespace), and the sum over the threads.  A wrong result ends it with status 1.
 *
 * Usage: hybrid            Built with -DWITH_PMIX -lpmix it also asks PMIx for PMIX_CPUSET.
 */
#define _GNU_SOURCE
#include <mpi.h>
#include <omp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef WITH_PMIX
#include <pmix.h>
#endif

enum {
    MAX_PUS = 4096,                 /* size of the affinity masks; the kernel's NR_CPUS limit is 8192 */
    RING_INTS = 1 << 18             /* 1 MiB: beyond the eager limit of every transport */
};

#define MASK_BYTES CPU_ALLOC_SIZE(MAX_PUS)

/* A growing string. Running out of memory ends the program: it has nothing to report then. */
typedef struct {
    char *data;
    size_t length;
    size_t room;
} text_t;

typedef struct {
    cpu_set_t *mask;                /* affinity, MASK_BYTES long; NULL if it could not be read */
    int cpu;                        /* where the thread was seen running */
} thread_place_t;

__attribute__((format(printf, 2, 3)))
static void append(text_t *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int need = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (need < 0)
        abort();
    if (text->length + (size_t)need + 1 > text->room) {
        text->room = 2 * (text->length + (size_t)need + 1);
        text->data = realloc(text->data, text->room);
        if (text->data == NULL)
            abort();
    }
    va_start(arguments, format);
    vsnprintf(text->data + text->length, (size_t)need + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)need;
}

/* Append VALUE as a JSON string, or null. */
static void append_json_string(text_t *text, const char *value)
{
    if (value == NULL) {
        append(text, "null");
        return;
    }
    append(text, "\"");
    for (const unsigned char *c = (const unsigned char *)value; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            append(text, "\\%c", *c);
        else if (*c < 0x20)
            append(text, "\\u%04x", *c);
        else
            append(text, "%c", *c);
    }
    append(text, "\"");
}

/* Append the mask in the kernel's list form, as a JSON string; null for no mask. */
static void append_cpulist(text_t *text, const cpu_set_t *mask)
{
    const char *comma = "";
    if (mask == NULL) {
        append(text, "null");
        return;
    }
    append(text, "\"");
    for (int first = 0; first < MAX_PUS; first++) {
        if (!CPU_ISSET_S((size_t)first, MASK_BYTES, mask))
            continue;
        int last = first;
        while (last + 1 < MAX_PUS && CPU_ISSET_S((size_t)last + 1, MASK_BYTES, mask))
            last++;
        append(text, first == last ? "%s%d" : "%s%d-%d", comma, first, last);
        comma = ",";
        first = last;
    }
    append(text, "\"");
}

/* Affinity of the calling thread as the kernel has it now. */
static thread_place_t read_place(void)
{
    thread_place_t place = { .mask = CPU_ALLOC(MAX_PUS), .cpu = sched_getcpu() };
    if (place.mask == NULL)
        abort();
    CPU_ZERO_S(MASK_BYTES, place.mask);
    if (sched_getaffinity(0, MASK_BYTES, place.mask) != 0) {
        CPU_FREE(place.mask);
        place.mask = NULL;
    }
    return place;
}

/* Inode of a namespace of this process: equal numbers mean the same namespace. 0 = unknown. */
static unsigned long long namespace_inode(const char *name)
{
    char path[64];
    struct stat status;
    snprintf(path, sizeof path, "/proc/self/ns/%s", name);
    return stat(path, &status) == 0 ? (unsigned long long)status.st_ino : 0;
}

/* PMIX_CPUSET as the launcher's PMIx server published it for this rank, or NULL. The caller frees. */
static char *pmix_cpuset(void)
{
#ifdef WITH_PMIX
    pmix_proc_t self;
    /* MPI has initialised the library already; this only counts a further user of it. */
    if (PMIx_Init(&self, NULL, 0) != PMIX_SUCCESS)
        return NULL;
    char *found = NULL;
    pmix_value_t *value = NULL;
    pmix_info_t only_local;
    bool yes = true;
    /* OPTIONAL: answer from the job data at hand. A server without the key must not be asked,
     * since it would wait for somebody to publish it. */
    PMIX_INFO_LOAD(&only_local, PMIX_OPTIONAL, &yes, PMIX_BOOL);
    if (PMIx_Get(&self, PMIX_CPUSET, &only_local, 1, &value) == PMIX_SUCCESS && value != NULL) {
        if (value->type == PMIX_STRING && value->data.string != NULL)
            found = strdup(value->data.string);
        PMIX_VALUE_RELEASE(value);
    }
    PMIx_Finalize(NULL, 0);
    return found;
#else
    return NULL;
#endif
}

/* One place per OpenMP thread, in the order of the thread numbers. */
static thread_place_t *read_thread_places(int *count, int *team_ok)
{
    int threads = omp_get_max_threads();
    thread_place_t *places = calloc((size_t)threads, sizeof *places);
    if (places == NULL)
        abort();
    int sum = 0, team = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    {
        int me = omp_get_thread_num();
#pragma omp single
        team = omp_get_num_threads();
        places[me] = read_place();
        sum += me + 1;
    }
    *count = team;
    *team_ok = sum == team * (team + 1) / 2;
    return places;
}

static int allreduce_is_right(int rank, int size)
{
    long long mine = rank + 1, sum = 0;
    MPI_Allreduce(&mine, &sum, 1, MPI_LONG_LONG, MPI_SUM, MPI_COMM_WORLD);
    return sum == (long long)size * (size + 1) / 2;
}

/* Everyone sends 1 MiB to the next rank and checks what came from the one before. */
static int ring_is_right(int rank, int size)
{
    int *out = malloc(RING_INTS * sizeof *out), *in = malloc(RING_INTS * sizeof *in);
    if (out == NULL || in == NULL)
        abort();
    for (int i = 0; i < RING_INTS; i++)
        out[i] = rank ^ i;
    int from = (rank + size - 1) % size;
    MPI_Sendrecv(out, RING_INTS, MPI_INT, (rank + 1) % size, 0, in, RING_INTS, MPI_INT, from, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    int right = 1;
    for (int i = 0; i < RING_INTS && right; i++)
        right = in[i] == (from ^ i);
    free(out);
    free(in);
    return right;
}

static text_t describe(int rank, int size, int right)
{
    text_t line = { 0 };
    char host[256] = "", library[MPI_MAX_LIBRARY_VERSION_STRING];
    int library_length = 0, local_rank = 0, local_size = 0, threads = 0, team_ok = 0;
    MPI_Comm local;

    gethostname(host, sizeof host - 1);
    MPI_Get_library_version(library, &library_length);
    library[strcspn(library, ",\n")] = '\0';
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &local);
    MPI_Comm_rank(local, &local_rank);
    MPI_Comm_size(local, &local_size);
    MPI_Comm_free(&local);
    thread_place_t *places = read_thread_places(&threads, &team_ok);
    thread_place_t together = read_place();
    for (int i = 0; i < threads && together.mask != NULL; i++)
        if (places[i].mask != NULL)
            CPU_OR_S(MASK_BYTES, together.mask, together.mask, places[i].mask);
    char *cpuset = pmix_cpuset();
    const char *container = getenv("APPTAINER_CONTAINER");
    if (container == NULL)
        container = getenv("SINGULARITY_CONTAINER");

    append(&line, "{\"rank\": %d, \"size\": %d, \"host\": ", rank, size);
    append_json_string(&line, host);
    append(&line, ", \"pid\": %ld, \"ppid\": %ld", (long)getpid(), (long)getppid());
    append(&line, ", \"namespaces\": {\"pid\": %llu, \"user\": %llu, \"mnt\": %llu}",
           namespace_inode("pid"), namespace_inode("user"), namespace_inode("mnt"));
    append(&line, ", \"container\": ");
    append_json_string(&line, container);
    append(&line, ", \"mpi\": ");
    append_json_string(&line, library);
    append(&line, ", \"local_rank\": %d, \"local_size\": %d", local_rank, local_size);
    append(&line, ", \"affinity\": ");
    append_cpulist(&line, together.mask);
    append(&line, ", \"pmix_cpuset\": ");
    append_json_string(&line, cpuset);
    append(&line, ", \"omp_num_threads\": %d, \"threads\": [", threads);
    for (int i = 0; i < threads; i++) {
        append(&line, "%s{\"thread\": %d, \"affinity\": ", i ? ", " : "", i);
        append_cpulist(&line, places[i].mask);
        append(&line, ", \"cpu\": %d}", places[i].cpu);
        CPU_FREE(places[i].mask);
    }
    append(&line, "], \"ok\": %s}\n", right && team_ok ? "true" : "false");
    CPU_FREE(together.mask);
    free(places);
    free(cpuset);
    return line;
}

/* Rank 0 prints the lines of all ranks, in rank order. */
static void print_in_order(const text_t *line, int rank, int size)
{
    int length = (int)line->length, total = 0;
    int *lengths = calloc((size_t)size, sizeof *lengths), *starts = calloc((size_t)size, sizeof *starts);
    if (lengths == NULL || starts == NULL)
        abort();
    MPI_Gather(&length, 1, MPI_INT, lengths, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (rank == 0)
        for (int i = 0; i < size; i++) {
            starts[i] = total;
            total += lengths[i];
        }
    char *all = malloc((size_t)total + 1);
    if (all == NULL)
        abort();
    MPI_Gatherv(line->data, length, MPI_CHAR, all, lengths, starts, MPI_CHAR, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        fwrite(all, 1, (size_t)total, stdout);
        fflush(stdout);
    }
    free(all);
    free(lengths);
    free(starts);
}

int main(int argc, char **argv)
{
    int provided, rank, size;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);

    int sum_right = allreduce_is_right(rank, size);
    int right = ring_is_right(rank, size) && sum_right;
    text_t line = describe(rank, size, right);
    print_in_order(&line, rank, size);
    free(line.data);

    int all_right = 0;
    MPI_Allreduce(&right, &all_right, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
    MPI_Finalize();
    return all_right ? 0 : 1;
}
