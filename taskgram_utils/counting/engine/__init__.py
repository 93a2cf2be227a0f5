"""The counting engine: the compiled code beneath the scan and the index, behind one door.

It turns text into word numbers, matches many n-grams in one pass over documents, sorts suffixes
into the files of an infini-gram index, and reads n-gram counts, pair counts and ∞-gram
probabilities from them. Nobody has to read it to use or change the rest of the package, which
imports the names below from here; README.md beside this file draws how it works.
"""

from taskgram_utils.counting.engine.edges import Edges
from taskgram_utils.counting.engine.matching import Matcher, Queries
from taskgram_utils.counting.engine.postings import (
    Asked, Reader, pair_counts, shared_documents, single_counts)
from taskgram_utils.counting.engine.shards import open_shards, swapped, write_shard, write_table
from taskgram_utils.counting.engine.subword_tokenizers import SubwordTokenizer, WordTokenizer
from taskgram_utils.counting.engine.suffix_array import place_of
from taskgram_utils.counting.engine.suffix_search import infinigram, search
from taskgram_utils.counting.engine.tokens import (
    BLOCK, UNKNOWN, Vocabulary, encode_ngrams, letters)

__all__ = [
    "BLOCK", "UNKNOWN", "Asked", "Edges", "Matcher", "Queries", "Reader", "SubwordTokenizer",
    "Vocabulary", "WordTokenizer", "encode_ngrams", "infinigram", "letters", "open_shards",
    "pair_counts", "place_of", "search", "shared_documents", "single_counts", "swapped",
    "write_shard", "write_table",
]
