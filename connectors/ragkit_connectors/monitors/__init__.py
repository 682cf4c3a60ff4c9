"""What monitors of machines and services say, in one form: a row for each sample."""

from ragkit_connectors.monitors.rows import Sample

__all__ = ["Sample"]
