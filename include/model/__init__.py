"""Candidates, their tuning, and the model with prediction intervals."""
