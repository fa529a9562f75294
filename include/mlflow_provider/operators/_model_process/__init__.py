"""What runs in the environment of a model.

The folder is copied there, hence its modules import nothing but each other and what such an environment has:
mlflow, pandas and pyarrow. They keep to what Python 3.8 can do, because models live long.
"""
