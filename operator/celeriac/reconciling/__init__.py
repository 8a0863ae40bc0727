"""One pool: its children brought in line with its spec."""
