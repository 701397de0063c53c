"""Single flight: requests for one and the same answer share its generation."""

from collections.abc import Collection

from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.follower import Follower
from penstock_gateway.generation import Generation


class SingleFlight:
    """Owns the generations under way. A generation belongs to its followers: it ends when the last has left.

    A key names an answer (`cache/answer_key.py`); it holds the tenant, so that tenants never share. Without a key a
    generation is its request's alone.

    Args:
        dispatcher: runs them.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._by_key: dict[bytes, Generation] = {}

    def __repr__(self) -> str:
        return f"SingleFlight(generations={len(self._by_key)})"

    @property
    def generations(self) -> Collection[Generation]:
        """All that may be joined, or whose answers are still being read."""
        return self._by_key.values()

    def find(self, key: bytes | None) -> Generation | None:
        """The generation of an answer, while it goes on."""
        generation = None if key is None else self._by_key.get(key)
        return None if generation is None or generation.is_over else generation

    def begin(self, key: bytes | None, generation: Generation, follower: Follower) -> None:
        """A new generation, with its first follower."""
        generation.join(follower)
        if key is not None:
            self._by_key[key] = generation
        self._dispatcher.enqueue(generation)

    def join(self, generation: Generation, follower: Follower) -> None:
        """One more follower; it may make the generation more urgent."""
        generation.join(follower)
        self._dispatcher.reprioritize(generation)

    def leave(self, key: bytes | None, generation: Generation, follower: Follower) -> bool:
        """A follower needs no more, for whatever reason. True where it was the last, and all work has been stopped."""
        generation.leave(follower)
        if generation.followers:
            self._dispatcher.reprioritize(generation)
            return False
        if key is not None and self._by_key.get(key) is generation:
            del self._by_key[key]
        self._dispatcher.retire(generation)
        return True

    def check_invariants(self) -> None:
        """Nothing runs for nobody, and everything runs as its most urgent follower needs."""
        for generation in self._by_key.values():
            assert generation.followers, "a generation without followers"
            assert generation.job.criticality == max(each.criticality for each in generation.followers)
            latest_s = max(each.deadline.at_monotonic_s for each in generation.followers)
            assert generation.job.deadline.at_monotonic_s == latest_s
