"""Describe a table of your own in ``include/problem.py``: ``make adapt TABLE=my.csv TARGET=price``."""
