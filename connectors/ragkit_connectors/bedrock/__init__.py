"""Amazon Bedrock: generators, embedders, rerankers and knowledge bases, a module for each."""
