"""Scores on the holdout, the promotion gate and the model card."""
