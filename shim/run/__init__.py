"""`shim run`: N ranks mapped over the nodes and started by one agent per node."""
