"""Answers what people ask of the operator by a CeleryPoolRequest: what only it knows, or only it can reach."""
