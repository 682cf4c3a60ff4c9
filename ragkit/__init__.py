"""Low-footprint retrieval-augmented generation with a receipt for every answer."""

from __future__ import annotations

__version__ = "0.1.0"
