"""The charts of the project, in one style."""
