"""Vectors by id, and the nearest of them: FAISS snapshots and a durable log of changes."""
