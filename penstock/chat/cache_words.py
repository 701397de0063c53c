"""What a person is told of the cache."""

from penstock.client import CacheOutcome, CacheReport

_TOLD = {
    CacheOutcome.EXACT_HIT: "the same request",
    CacheOutcome.SEMANTIC_HIT: "another wording",
    CacheOutcome.EXPLORED: "another wording, not trusted",
    CacheOutcome.JOINED: "joined the same request",
}


def cache_words(report: CacheReport) -> list[str]:
    """What it did, and how sure it was where there was something to be unsure of; that it had nothing is no news."""
    if report.outcome not in _TOLD:
        return []
    score = "" if report.score is None else f" (score {report.score:.2f})"
    return [f"cache: {_TOLD[report.outcome]}{score}"]
