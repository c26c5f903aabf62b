"""The trunkline command: the whole suite on one machine."""
