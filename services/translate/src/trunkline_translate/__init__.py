"""Translation: sentences in their context, by the best engine that is up."""
