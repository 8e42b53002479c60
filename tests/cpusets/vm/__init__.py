"""A virtual machine with a real kernel: 2 sockets × 4 cores × 2 threads, 2 NUMA nodes.

This machine's own kernel has too few CPUs to see ranks spread, and taking one of them offline or
shrinking the cpuset of everything would disturb whoever else works here.
"""
