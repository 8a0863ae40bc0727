"""Redis as kombu uses it: lists for queues, one hash for what workers hold."""
