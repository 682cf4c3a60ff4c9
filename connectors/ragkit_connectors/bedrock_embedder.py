"""Embedders of Amazon Bedrock: `bedrock:MODEL`."""
