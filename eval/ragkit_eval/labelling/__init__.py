"""Labelling questions by hand: in a terminal, or on one local page."""
