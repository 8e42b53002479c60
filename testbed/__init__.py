"""A private Slurm cluster on this machine, in Linux namespaces.

Real slurmctld and slurmd, munge, sshd, MPI and Apptainer on a head node and N compute nodes;
root on one machine is all it needs. `Cluster` is its Python interface, ``shim cluster`` its
command.
"""

from testbed.cluster import Cluster, CommandFailed, NodeStatus
from testbed.leftovers import Leftovers
from testbed.process import NodeProcess
from testbed.state import ClusterSpec

__all__ = ["Cluster", "ClusterSpec", "CommandFailed", "Leftovers", "NodeProcess", "NodeStatus"]
