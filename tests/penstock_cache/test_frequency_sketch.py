"""The sketch: counts that may be too high, and age."""

from collections import Counter

from penstock_cache.frequency_sketch import FrequencySketch


def test_what_came_often_has_the_higher_count() -> None:
    """The order is what admission goes by; up to 15 and with room enough the counts are true."""
    sketch = FrequencySketch(1024)
    expected = Counter({b"never": 0, b"once": 1, b"five": 5, b"fifteen": 15})
    for name in expected.elements():
        sketch.add(name)
    assert {name: sketch.estimate(name) for name in expected} == expected
    sketch.add(b"fifteen")
    assert sketch.estimate(b"fifteen") == 15


def test_no_estimate_is_too_low_while_nothing_has_aged() -> None:
    """In a space far too small a popular thing must not look like a rare one."""
    sketch = FrequencySketch(16)
    for number in range(100):
        sketch.add(b"%d" % (number % 25))
    assert all(sketch.estimate(b"%d" % number) >= 4 for number in range(25))


def test_old_counts_fade() -> None:
    """What was popular yesterday must not stand in the way of what is today."""
    sketch = FrequencySketch(64)
    for _ in range(12):
        sketch.add(b"old")
    for number in range(10 * 64 - 12):
        sketch.add(b"%d" % (number % 8))
    assert sketch.estimate(b"old") == 6
