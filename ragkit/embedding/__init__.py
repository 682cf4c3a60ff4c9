"""The embedder that ships with ragkit."""
