"""Predictions: by which version, of which files, as file and picture."""
