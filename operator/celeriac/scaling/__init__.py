"""Pure scaling: no I/O, no clock, no Kubernetes. Numbers in, a Decision out."""
