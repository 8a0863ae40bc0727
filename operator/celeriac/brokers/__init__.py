"""Reading queues: the Broker protocol and one module per broker."""
