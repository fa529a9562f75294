"""Drift of the inputs and performance degradation of the champion."""
