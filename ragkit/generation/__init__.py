"""The generator that needs no language model."""

from __future__ import annotations

from ragkit.generation.extractive import ExtractiveGenerator

__all__ = ["ExtractiveGenerator"]
