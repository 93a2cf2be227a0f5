"""Count task-grams in a pretraining corpus; measure how far a language model follows the counts."""

__version__ = "0.1.0"
