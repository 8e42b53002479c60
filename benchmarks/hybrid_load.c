/* An MPI+OpenMP load whose speed depends on where its ranks and threads sit.
 *
 *     mpicc -O2 -fopenmp hybrid_load.c && srun -n 2 ./a.out SECONDS
 *
 * Two phases: a STREAM triad over arrays that every thread touched first itself (bound by memory
 * bandwidth) and a chain of multiplications and additions in registers (bound by cores). Every
 * step of both ends with a barrier of all ranks, as bulk-synchronous programs do: the slowest rank
 * sets the pace. Rank 0 prints one line of JSON with the rates of the whole job.
 */
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { ELEMENTS = 1 << 21, CHAIN = 1 << 14, LANES = 8 };

static double triad(double *a, const double *b, const double *c)
{
    #pragma omp parallel for schedule(static)
    for (long i = 0; i < ELEMENTS; i++)
        a[i] = b[i] + 3.0 * c[i];
    return a[ELEMENTS / 2];
}

static double chain(int pieces)
{
    double total = 0;

    #pragma omp parallel for schedule(static) reduction(+ : total)
    for (int piece = 0; piece < pieces; piece++) {
        double lane[LANES];

        for (int i = 0; i < LANES; i++)
            lane[i] = piece + i;
        for (int step = 0; step < CHAIN; step++)
            for (int i = 0; i < LANES; i++)
                lane[i] = lane[i] * 0.999999 + 1e-6;
        for (int i = 0; i < LANES; i++)
            total += lane[i];
    }
    return total;
}

/* Steps per second of the whole job, counted for at least `seconds`. */
static double rate(double seconds, int phase, double *a, double *b, double *c, double *sink)
{
    double start, now;
    long steps = 0;
    int more = 1;

    MPI_Barrier(MPI_COMM_WORLD);
    start = MPI_Wtime();
    do {
        *sink += phase == 0 ? triad(a, b, c) : chain(64);
        steps++;
        now = MPI_Wtime();
        more = now - start < seconds;
        MPI_Bcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD);
        MPI_Barrier(MPI_COMM_WORLD);
    } while (more);
    return steps / (MPI_Wtime() - start);
}

int main(int argc, char **argv)
{
    double seconds, sink = 0, bandwidth, compute;
    double *a = malloc(ELEMENTS * sizeof *a), *b = malloc(ELEMENTS * sizeof *b);
    double *c = malloc(ELEMENTS * sizeof *c);
    int rank, size;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    seconds = argc > 1 ? atof(argv[1]) : 1.0;
    if (!a || !b || !c || seconds <= 0) {
        fprintf(stderr, "hybrid_load: no memory, or no number of seconds\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    #pragma omp parallel for schedule(static)
    for (long i = 0; i < ELEMENTS; i++)
        a[i] = b[i] = c[i] = 1.0;
    bandwidth = rate(seconds, 0, a, b, c, &sink) * size * 3.0 * sizeof *a * ELEMENTS / 1e9;
    compute = rate(seconds, 1, a, b, c, &sink) * size * 64.0 * CHAIN * LANES * 2 / 1e9;
    if (rank == 0)
        printf("{\"triad_gb_per_s\": %.6g, \"gflop_per_s\": %.6g, \"threads\": %d, \"sink\": %.3g}\n",
               bandwidth, compute, omp_get_max_threads(), sink);
    MPI_Finalize();
    free(a);
    free(b);
    free(c);
    return 0;
}
