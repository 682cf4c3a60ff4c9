"""Measures of contexts, rankings and answers."""
