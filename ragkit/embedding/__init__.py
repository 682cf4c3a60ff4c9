"""The embedder that ships with ragkit."""

from __future__ import annotations

from ragkit.embedding.builtin import BuiltinEmbedder

__all__ = ["BuiltinEmbedder"]
