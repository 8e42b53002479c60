/*
 * pingpong: latency and bandwidth between MPI ranks 0 and 1; any further rank only waits.
 *
 * One line of JSON per message size, printed by rank 0:
 *   {"bytes": B, "iterations": N, "latency_us": half the median round trip,
 *    "mean_us": half the mean one, "best_us": half the shortest one,
 *    "bandwidth_MBps": B / half the median round trip}
 * 1 MB is 10^6 bytes.  The median leaves out what the kernel does in between; the mean has it.
 * The number of iterations is chosen so that each size takes about the given time.  The content
 * of each first message of a size is checked.
 *
 * Usage: pingpong [--seconds-per-size S] [--max-bytes B]      (default 0.2 s, 8 MiB)
 */
#include <getopt.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 10, TAG = 7, FEWEST = 10, MOST = 200000 };

typedef struct {
    double seconds_per_size;
    int max_bytes;
} options_t;

static options_t parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        { "seconds-per-size", required_argument, NULL, 's' },
        { "max-bytes", required_argument, NULL, 'b' },
        { NULL, 0, NULL, 0 }
    };
    options_t options = { .seconds_per_size = 0.2, .max_bytes = 8 << 20 };
    int letter;
    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        char *end = "?";
        if (letter == 's')
            options.seconds_per_size = strtod(optarg, &end);
        else if (letter == 'b')
            options.max_bytes = (int)strtol(optarg, &end, 10);
        if (*end != '\0' || options.seconds_per_size <= 0 || options.max_bytes < 1) {
            fprintf(stderr, "usage: pingpong [--seconds-per-size S] [--max-bytes B]\n");
            exit(2);
        }
    }
    return options;
}

/* One round trip as seen by RANK, in seconds. */
static double round_trip(int rank, char *buffer, int bytes)
{
    double start = MPI_Wtime();
    if (rank == 0) {
        MPI_Send(buffer, bytes, MPI_CHAR, 1, TAG, MPI_COMM_WORLD);
        MPI_Recv(buffer, bytes, MPI_CHAR, 1, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
        MPI_Recv(buffer, bytes, MPI_CHAR, 0, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(buffer, bytes, MPI_CHAR, 0, TAG, MPI_COMM_WORLD);
    }
    return MPI_Wtime() - start;
}

/* The bytes make one trip there and back and must come back unchanged. */
static int content_survives(int rank, char *buffer, int bytes)
{
    if (rank == 0)
        for (int i = 0; i < bytes; i++)
            buffer[i] = (char)(i * 31 + 7);
    else
        memset(buffer, 0, (size_t)bytes);
    round_trip(rank, buffer, bytes);
    for (int i = 0; i < bytes; i++)
        if (buffer[i] != (char)(i * 31 + 7))
            return 0;
    return 1;
}

/* Rank 0 decides from a few round trips how many are needed, and tells rank 1. */
static int choose_iterations(int rank, char *buffer, int bytes, double seconds)
{
    double spent = 0;
    for (int i = 0; i < WARM_UP; i++)
        spent += round_trip(rank, buffer, bytes);
    double wanted = seconds * WARM_UP / (spent > 0 ? spent : 1e-9);
    int iterations = wanted < FEWEST ? FEWEST : wanted > MOST ? MOST : (int)wanted;
    if (rank == 0)
        MPI_Send(&iterations, 1, MPI_INT, 1, TAG, MPI_COMM_WORLD);
    else
        MPI_Recv(&iterations, 1, MPI_INT, 0, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return iterations;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void measure(int rank, char *buffer, int bytes, double seconds, double *trips)
{
    int iterations = choose_iterations(rank, buffer, bytes, seconds);
    double total = 0;
    for (int i = 0; i < iterations; i++) {
        trips[i] = round_trip(rank, buffer, bytes);
        total += trips[i];
    }
    if (rank != 0)
        return;
    qsort(trips, (size_t)iterations, sizeof *trips, ascending);
    double half = trips[iterations / 2] / 2;
    printf("{\"bytes\": %d, \"iterations\": %d, \"latency_us\": %.3f, \"mean_us\": %.3f, "
           "\"best_us\": %.3f, \"bandwidth_MBps\": %.6g}\n",
           bytes, iterations, half * 1e6, total / iterations / 2 * 1e6, trips[0] / 2 * 1e6,
           bytes / half / 1e6);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int rank, size;
    MPI_Init(&argc, &argv);
    options_t options = parse_options(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size < 2) {
        fprintf(stderr, "pingpong: there is only one rank. Start it with at least two.\n");
        MPI_Finalize();
        return 2;
    }
    int right = 1;
    if (rank < 2) {
        char *buffer = malloc((size_t)options.max_bytes);
        double *trips = malloc(MOST * sizeof *trips);
        if (buffer == NULL || trips == NULL)
            MPI_Abort(MPI_COMM_WORLD, 3);
        for (long long bytes = 1; bytes <= options.max_bytes && right; bytes *= 2) {
            right = content_survives(rank, buffer, (int)bytes);
            measure(rank, buffer, (int)bytes, options.seconds_per_size, trips);
        }
        free(trips);
        free(buffer);
    }
    int all_right = 0;
    MPI_Allreduce(&right, &all_right, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
    MPI_Finalize();
    return all_right ? 0 : 1;
}
