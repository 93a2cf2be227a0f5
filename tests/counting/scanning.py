"""A scan in one call, for tests."""

from taskgram_utils.counting.scan import ScanCounter


def scan(corpus, ngrams=(), pairs=(), unit="documents", halves=False, progress=False, **options):
    """A counter after one pass, with the counts ``found``."""
    counter = ScanCounter(corpus, unit, progress, **options)
    counter.found = counter.counts(ngrams, pairs, halves)
    return counter
