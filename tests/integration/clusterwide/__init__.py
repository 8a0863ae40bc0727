"""Stories that share one operator; as a package, so that it ends with the last of them."""
