"""From a pool to the connection that reads its queues: Secrets become addresses, addresses become connections."""
