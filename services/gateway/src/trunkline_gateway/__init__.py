"""One door to every Trunkline service."""
