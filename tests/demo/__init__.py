"""`python -m tests.demo`: the whole system in one command, real tasks, a live table and an account of every task."""
