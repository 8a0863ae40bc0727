"""Pure builders: a pool in, a fresh dict out."""
