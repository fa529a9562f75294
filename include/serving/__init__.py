"""The champion over HTTP: the server, and how to ask it."""
