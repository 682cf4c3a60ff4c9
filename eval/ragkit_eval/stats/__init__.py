"""Intervals, tests and certificates."""
