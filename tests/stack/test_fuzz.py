"""Random requests, valid and not, against the running stack. `bench/fuzz.py` is the long form."""

from collections import Counter

import pytest
from stack.fuzz.aftermath import Watch
from stack.fuzz.rounds import fuzzing
from stack.running import RunningStack

_SEED = 20_261_127
_NUM_EXAMPLES = 120


@pytest.mark.timeout(600)
def test_random_requests_end_as_they_must_and_leave_nothing(stack: RunningStack) -> None:
    """Nothing that anybody can send may end in an error of ours, hurt a process or stay behind."""
    watch = Watch(stack)
    with fuzzing(stack.gateway_address) as make_round:
        counts = make_round(_SEED, _NUM_EXAMPLES)
    assert watch.problems() == []
    by_code = Counter[str]()
    for (_, code), number in counts.items():
        by_code[code] += number
    # Both sides of validation were reached, and ends in mid-work; which of these is a matter of pace.
    assert by_code["OK"] > 25, counts
    assert by_code["INVALID_ARGUMENT"] > 25, counts
    assert by_code["CANCELLED"] + by_code["DEADLINE_EXCEEDED"] > 0, counts
