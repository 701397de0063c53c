"""Rounds of random calls, several at once, against a running stack."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from stack.fuzz.calls import Call, calls, make

_AT_ONCE = 4
Counts = Counter[tuple[str, str]]


@contextmanager
def fuzzing(address: str) -> Iterator[Callable[[int, int], Counts]]:
    """A function that makes a round: from a seed and a number of examples, the calls by RPC and code.

    It raises the error of the smallest example that fails, which Hypothesis prints.
    """
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(_AT_ONCE) as executor:

        def make_round(number: int, num_examples: int) -> Counts:
            counts: Counts = Counter()

            @seed(number)
            @settings(
                max_examples=num_examples,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.generate, Phase.shrink),
                print_blob=False,
            )
            @given(st.lists(calls(), min_size=1, max_size=_AT_ONCE))
            def check(together: list[Call]) -> None:
                codes = list(executor.map(lambda call: make(call, channel), together))
                counts.update((call.rpc, code.name) for call, code in zip(together, codes, strict=True))

            check()
            return counts

        yield make_round
