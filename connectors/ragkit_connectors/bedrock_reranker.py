"""Rerankers of Amazon Bedrock: `bedrock:MODEL`."""
