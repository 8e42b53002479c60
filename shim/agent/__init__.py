"""The agent: one Python process per step and node, PMIx client upwards and server downwards."""
