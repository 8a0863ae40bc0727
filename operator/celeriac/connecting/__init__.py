"""From a pool to the connection that reads its queues: Secrets, addresses, sharing."""
