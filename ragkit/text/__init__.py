"""Words, sentences, word pieces and token counts."""
