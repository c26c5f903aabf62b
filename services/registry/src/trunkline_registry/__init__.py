"""The registry: models, their versions, and which of them serve."""
