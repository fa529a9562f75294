"""Candidates, their tuning, and the model that is trained."""
