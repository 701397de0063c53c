"""Who is next: criticality, then the tenant that was served least, then the earliest deadline."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock_gateway.dispatch.fair_queue import FairQueue
from penstock_gateway.requests import Criticality

STANDARD = Criticality.STANDARD


def push(
    queue: FairQueue[str],
    key: str,
    *,
    tenant: str = "a",
    criticality: Criticality = STANDARD,
    deadline_s: float = 0.0,
    num_tokens: int = 10,
    is_returning: bool = False,
) -> None:
    """An item that is its own key."""
    queue.push(
        key,
        key,
        tenant=tenant,
        criticality=criticality,
        deadline_s=deadline_s,
        num_tokens=num_tokens,
        is_returning=is_returning,
    )


def drain(queue: FairQueue[str]) -> list[str]:
    """All items in their order."""
    return [queue.pop() for _ in range(len(queue))]


def test_criticality_goes_before_all_else() -> None:
    """Even before fairness and deadlines."""
    queue: FairQueue[str] = FairQueue()
    push(queue, "bulk", criticality=Criticality.SHEDDABLE, deadline_s=1)
    push(queue, "normal", deadline_s=2)
    push(queue, "urgent", criticality=Criticality.CRITICAL, deadline_s=3)
    assert drain(queue) == ["urgent", "normal", "bulk"]


def test_within_a_tenant_the_earlier_deadline_goes_first_then_the_earlier_arrival() -> None:
    """Among equals, first come, first served."""
    queue: FairQueue[str] = FairQueue()
    for key, deadline_s in (("late", 9), ("soon", 1), ("soon too", 1)):
        push(queue, key, deadline_s=deadline_s)
    assert drain(queue) == ["soon", "soon too", "late"]


def test_a_tenant_with_many_requests_does_not_starve_another() -> None:
    """The heavy one came first, and the light one still gets every other turn."""
    queue: FairQueue[str] = FairQueue()
    for number in range(4):
        push(queue, f"heavy {number}", tenant="heavy")
    for number in range(2):
        push(queue, f"light {number}", tenant="light")
    assert drain(queue) == ["heavy 0", "light 0", "heavy 1", "light 1", "heavy 2", "heavy 3"]


def test_turns_are_weighted_by_tokens() -> None:
    """One prompt of 100 tokens costs as much as ten of 10."""
    queue: FairQueue[str] = FairQueue()
    for number in range(2):
        push(queue, f"big {number}", tenant="big", num_tokens=100)
    for number in range(11):
        push(queue, f"small {number:02}", tenant="small", num_tokens=10)
    order = drain(queue)
    assert order.index("big 1") == 11
    assert order[0] == "big 0"


def test_output_counts_when_it_is_charged() -> None:
    """The length of an output is known only at its end."""
    queue: FairQueue[str] = FairQueue()
    queue.charge("talker", 1000)
    push(queue, "talker", tenant="talker")
    push(queue, "quiet", tenant="quiet")
    assert drain(queue) == ["quiet", "talker"]


def test_idling_saves_nothing_up() -> None:
    """A tenant that comes back after a pause takes turns from now on; it does not get all of them."""
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        push(queue, f"busy {number}", tenant="busy")
        queue.pop()
    for number in range(3):
        push(queue, f"busy again {number}", tenant="busy")
        push(queue, f"back {number}", tenant="back")
    assert drain(queue)[:4] == ["busy again 0", "back 0", "busy again 1", "back 1"]


def test_what_lost_its_place_goes_before_new_requests() -> None:
    """Its client is in the middle of an answer."""
    queue: FairQueue[str] = FairQueue()
    push(queue, "new", deadline_s=1)
    push(queue, "resumed", deadline_s=5, is_returning=True)
    assert drain(queue) == ["resumed", "new"]


def test_removed_items_are_gone_and_cost_nothing() -> None:
    """Cancelled requests were not served."""
    queue: FairQueue[str] = FairQueue()
    push(queue, "cancelled", tenant="a", num_tokens=500)
    assert queue.remove("cancelled")
    assert not queue.remove("cancelled")
    push(queue, "a", tenant="a")
    push(queue, "b", tenant="b")
    assert (queue.num_tokens, drain(queue)) == (20, ["a", "b"])


def test_idle_tenants_are_forgotten() -> None:
    """Tenants come and go for months."""
    queue: FairQueue[str] = FairQueue()
    for number in range(5000):
        push(queue, "item", tenant=f"tenant {number}")
        queue.pop()
        queue.charge("whale", 1)
    assert len(queue._counters) < 1100


def test_an_item_that_is_worth_more_than_it_was_goes_earlier() -> None:
    """Somebody with less patience has joined it; among equals it keeps its place by arrival."""
    queue: FairQueue[str] = FairQueue()
    for key, deadline_s in (("first", 5), ("second", 9), ("third", 5)):
        push(queue, key, criticality=Criticality.SHEDDABLE, deadline_s=deadline_s)
    queue.reprioritize("second", criticality=Criticality.SHEDDABLE, deadline_s=5)
    assert queue.items() == ["first", "second", "third"]
    queue.reprioritize("third", criticality=Criticality.CRITICAL, deadline_s=5)
    queue.reprioritize("unknown", criticality=Criticality.CRITICAL, deadline_s=5)
    assert drain(queue) == ["third", "first", "second"]


def test_a_change_of_worth_is_no_new_turn() -> None:
    """The tenant neither pays for it nor is lifted to the level of the others."""
    queue: FairQueue[str] = FairQueue()
    push(queue, "waits", tenant="a", criticality=Criticality.SHEDDABLE)
    for number in range(3):
        push(queue, f"b{number}", tenant="b")
        queue.pop()
    push(queue, "rival", tenant="c", criticality=Criticality.CRITICAL, deadline_s=-1)
    queue.reprioritize("waits", criticality=Criticality.CRITICAL, deadline_s=0)
    assert drain(queue) == ["waits", "rival"]


class Histories(RuleBasedStateMachine):
    """Random histories against the plainest model: a list."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[str] = FairQueue()
        self.waiting: dict[str, Criticality] = {}
        self.num_pushed = 0

    @rule(
        tenant=st.sampled_from("abc"),
        criticality=st.sampled_from(Criticality),
        deadline_s=st.integers(0, 5),
        num_tokens=st.integers(0, 9),
        is_returning=st.booleans(),
    )
    def push(self, tenant: str, criticality: Criticality, deadline_s: int, num_tokens: int, is_returning: bool) -> None:
        """One more item."""
        self.num_pushed += 1
        key = str(self.num_pushed)
        push(
            self.queue,
            key,
            tenant=tenant,
            criticality=criticality,
            deadline_s=deadline_s,
            num_tokens=num_tokens,
            is_returning=is_returning,
        )
        self.waiting[key] = criticality

    @precondition(lambda self: self.waiting)
    @rule()
    def pop(self) -> None:
        """The next one is what was peeked at, and nothing more critical waits."""
        expected = self.queue.peek()
        key = self.queue.pop()
        assert key == expected
        assert self.waiting.pop(key) >= max(self.waiting.values(), default=Criticality.SHEDDABLE)

    @precondition(lambda self: self.waiting)
    @rule(choice=st.randoms())
    def remove(self, choice: object) -> None:
        """Any of them is cancelled."""
        key = choice.choice(sorted(self.waiting))  # type: ignore[attr-defined]
        assert self.queue.remove(key)
        del self.waiting[key]

    @precondition(lambda self: self.waiting)
    @rule(choice=st.randoms(), criticality=st.sampled_from(Criticality), deadline_s=st.integers(0, 5))
    def reprioritize(self, choice: object, criticality: Criticality, deadline_s: int) -> None:
        """Any of them is worth something else."""
        key = choice.choice(sorted(self.waiting))  # type: ignore[attr-defined]
        self.queue.reprioritize(key, criticality=criticality, deadline_s=deadline_s)
        self.waiting[key] = criticality

    @rule(tenant=st.sampled_from("abc"), num_tokens=st.integers(0, 50))
    def charge(self, tenant: str, num_tokens: int) -> None:
        """Output is served."""
        self.queue.charge(tenant, num_tokens)

    @invariant()
    def sound(self) -> None:
        """The books balance."""
        self.queue.check_invariants()
        assert self.queue.items() == list(self.waiting)


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestHistories = Histories.TestCase
