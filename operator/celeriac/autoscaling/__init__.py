"""The tick over all brokers: observe, decide, plan, and write the replicas."""
