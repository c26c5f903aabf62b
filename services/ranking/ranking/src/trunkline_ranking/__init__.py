"""Scores from registered models over online features."""
