"""Comparing runs, gates and reports."""
