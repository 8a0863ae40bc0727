"""Real Kubernetes for tests and the demo: a control plane alone, or a whole one-node cluster without Docker.

Everything is used on its own too: ``python -m tests.cluster --help``.
"""
