"""What the agents count of the pools' tasks, from the brokers to the metrics."""
