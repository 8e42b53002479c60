/*
 * wireup: what it costs to become an MPI job. MPI_Init, one barrier, MPI_Finalize.
 *
 * Rank 0 prints one line of JSON with the slowest rank's seconds in MPI_Init and in the barrier
 * (the first barrier makes the connections), and its own seconds in MPI_Finalize:
 *   {"size": N, "init_s": I, "barrier_s": B, "finalize_s": F}
 */
#define _POSIX_C_SOURCE 199309L    /* clock_gettime */
#include <mpi.h>
#include <stdio.h>
#include <time.h>

/* MPI_Wtime may not be called outside of MPI_Init … MPI_Finalize. */
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    int rank, size;
    double spent[2], slowest[2];

    double start = now();
    MPI_Init(&argc, &argv);
    spent[0] = now() - start;
    start = now();
    MPI_Barrier(MPI_COMM_WORLD);
    spent[1] = now() - start;

    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Reduce(spent, slowest, 2, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    start = now();
    MPI_Finalize();
    if (rank == 0)
        printf("{\"size\": %d, \"init_s\": %.6f, \"barrier_s\": %.6f, \"finalize_s\": %.6f}\n",
               size, slowest[0], slowest[1], now() - start);
    return 0;
}
