"""The acts of `trunkline demo` that come with it."""
