"""Evaluation and calibration."""
