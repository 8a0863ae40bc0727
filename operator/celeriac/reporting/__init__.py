"""What is told about a pool: status, conditions, events."""
