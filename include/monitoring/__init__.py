"""Drift and decay of the champion."""
