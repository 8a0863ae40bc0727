"""The workers of a pool: Pods joined with what the agents in them report."""
