"""Scores and recommendations from registered models over online features."""
