"""Every figure of the project, in one style."""
