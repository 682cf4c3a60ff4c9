"""Comparisons of runs, gates and reports."""
