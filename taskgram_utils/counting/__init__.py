"""Counting n-grams and pairs of them: by one pass over text, or from an index."""
