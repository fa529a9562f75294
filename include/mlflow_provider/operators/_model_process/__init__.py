"""The program that runs in a model's environment.

It is copied there, so its modules import only each other and what such an environment has: mlflow, pandas and pyarrow.
They run on Python 3.8 too, because models live long.
"""
