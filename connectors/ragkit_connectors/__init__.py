"""Connectors to outside systems, opened by name; files here do not import each other."""
