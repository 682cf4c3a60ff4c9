"""Advice: Region, hosting, window and service level, each with its reason and sources, or none."""
