/* MPI's name service among all ranks: the last one publishes, the first one looks up. */
#include <mpi.h>
#include <stdio.h>
#include <string.h>

/* A call that must fail, with this class of error. */
static int refused(int code, int wanted)
{
    int class;

    MPI_Error_class(code, &class);
    return class == wanted;
}

int main(int argc, char **argv)
{
    char port[MPI_MAX_PORT_NAME] = "", found[MPI_MAX_PORT_NAME] = "";
    int rank, size, good = 1, all;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    if (rank == size - 1) {
        strcpy(port, "a port of the last rank");
        good &= MPI_Publish_name("service", MPI_INFO_NULL, port) == MPI_SUCCESS;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    good &= MPI_Lookup_name("service", MPI_INFO_NULL, found) == MPI_SUCCESS;
    good &= strcmp(found, "a port of the last rank") == 0;
    good &= refused(MPI_Lookup_name("nothing", MPI_INFO_NULL, found), MPI_ERR_NAME);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == size - 1) {
        good &= MPI_Unpublish_name("service", MPI_INFO_NULL, port) == MPI_SUCCESS;
        good &= MPI_Unpublish_name("service", MPI_INFO_NULL, port) != MPI_SUCCESS;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    good &= refused(MPI_Lookup_name("service", MPI_INFO_NULL, found), MPI_ERR_NAME);
    MPI_Reduce(&good, &all, 1, MPI_INT, MPI_LAND, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("names: %s\n", all ? "right" : "wrong");
    }
    MPI_Finalize();
    return !good;
}
