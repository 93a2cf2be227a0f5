"""Code of single chapters of the book, beside them: each module belongs to one or two notebooks."""
