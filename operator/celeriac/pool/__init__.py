"""A CeleryWorkerPool, parsed once at the edge into frozen values; a bad one becomes a condition, never a crash."""
