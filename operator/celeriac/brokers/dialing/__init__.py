"""The way to a broker: a name becomes addresses, the platform's policy takes or leaves them, one of them is dialled."""
