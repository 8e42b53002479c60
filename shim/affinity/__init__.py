"""What the kernel says about a running job's ranks on this node, and mistakes that it shows."""
