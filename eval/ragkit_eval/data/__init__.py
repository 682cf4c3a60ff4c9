"""Labelled questions: reading, checking and joining them."""
