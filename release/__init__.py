"""A release: from a checkout to what people install, each part with an SBOM and signed."""
