"""Numbers in words, a file a language."""
