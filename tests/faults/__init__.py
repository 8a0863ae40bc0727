"""What one tenant, one server or one node may never do to the others."""
