"""The MEOW bridge: events become container jobs in an elastic Slurm allocation."""
