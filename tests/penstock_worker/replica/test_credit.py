"""Credit is shared fairly, completely, and never promised twice."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.engine.validation import EngineLimits
from penstock_worker.replica.credit import NOTHING, Amount, Claim, CreditBudget, apportion

amounts = st.integers(0, 200)
claims = st.lists(st.builds(Claim, in_use=amounts, waiting=amounts), min_size=1, max_size=8)
LIMITS = EngineLimits(
    max_running_sequences=64, max_step_tokens=2048, context_length=1000, block_size=16, num_blocks=500
)


def test_a_session_alone_gets_everything() -> None:
    """One gateway must be able to fill the engine without asking."""
    assert apportion(72, 1, [Claim(0, 0)]) == [72]


def test_equal_sessions_get_equal_shares_to_the_last_one() -> None:
    """What cannot be divided goes to the first ones rather than to nobody."""
    assert apportion(10, 1, [Claim(0, 0), Claim(0, 0), Claim(0, 0)]) == [4, 3, 3]


def test_waiting_work_goes_before_headroom() -> None:
    """An idle gateway's share is lent to the one whose queue is full."""
    assert apportion(10, 1, [Claim(0, 8), Claim(0, 0)]) == [8, 2]


def test_the_least_provided_for_is_served_first() -> None:
    """A newcomer gets what is free before the established gateway gets more."""
    assert apportion(12, 1, [Claim(6, 10), Claim(0, 10)]) == [6, 6]


def test_what_is_used_is_not_taken_back_and_not_granted_twice() -> None:
    """A gateway that filled the engine keeps it; the newcomer gets its floor until something ends."""
    assert apportion(72, 1, [Claim(72, 40), Claim(0, 40)]) == [72, 1]
    assert apportion(72, 1, [Claim(50, 40), Claim(0, 40)]) == [50, 22]


@given(total=st.integers(0, 500), floor=st.integers(0, 5), given_claims=claims)
def test_shares_keep_the_promises_of_credit(total: int, floor: int, given_claims: list[Claim]) -> None:
    """For any load: nobody below use or floor, everything shared out, nothing beyond the total but floors and use."""
    grants = apportion(total, floor, given_claims)
    in_use = [claim.in_use for claim in given_claims]
    assert all(grant >= max(used, floor) for grant, used in zip(grants, in_use, strict=True))
    assert sum(grants) >= total or len(given_claims) == 0
    above_floor = sum(grant for grant in grants if grant > floor)
    assert above_floor <= max(total, sum(in_use))


@given(total=st.integers(0, 500), given_claims=claims)
def test_nobody_is_left_wanting_beside_somebody_with_more(total: int, given_claims: list[Claim]) -> None:
    """Max-min fairness: who got less than it wants stands beside nobody who was given more than that."""
    grants = apportion(total, 0, given_claims)
    for grant, claim in zip(grants, given_claims, strict=True):
        if grant < claim.in_use + claim.waiting:
            for other, other_claim in zip(grants, given_claims, strict=True):
                assert other <= max(grant + 1, other_claim.in_use)


def test_the_budget_keeps_the_engines_queue_short() -> None:
    """Running slots and an eighth more, two steps of prefill, the blocks there are."""
    budget = CreditBudget.for_engine(LIMITS)
    assert budget.total == Amount(72, 4096, 500)
    assert budget.floor == Amount(1, 1000, 64)


def test_the_longest_sequence_fits_into_the_floor_and_into_the_budget() -> None:
    """Otherwise a request that the engine could run would wait for ever."""
    for num_blocks in (63, 500):
        limits = EngineLimits(
            max_running_sequences=1, max_step_tokens=64, context_length=1000, block_size=16, num_blocks=num_blocks
        )
        budget = CreditBudget.for_engine(limits)
        assert budget.charge(limits.context_length - 1).fits(budget.floor)
        assert budget.floor.fits(budget.total)


def test_charges_are_those_of_the_contract() -> None:
    """Gateway and worker count alike: ceil(tokens / block size) + 1 blocks."""
    budget = CreditBudget.for_engine(LIMITS)
    assert budget.charge(16) == Amount(1, 16, 2)
    assert budget.charge(17) == Amount(1, 17, 3)


def test_all_currencies_are_apportioned() -> None:
    """A window of one session holds its sequences, its prefill tokens and its blocks."""
    budget = CreditBudget(total=Amount(10, 100, 40), floor=Amount(1, 50, 4), block_size=16)
    windows = budget.apportion([Amount(4, 0, 8), NOTHING], [NOTHING, budget.waiting(3, 30)])
    assert windows == [Amount(5, 50, 20), Amount(5, 50, 20)]


def test_an_amount_fits_only_where_every_currency_does() -> None:
    """Blocks can run out while sequences are left."""
    assert Amount(1, 2, 3).fits(Amount(1, 2, 3))
    for bound in (Amount(0, 2, 3), Amount(1, 1, 3), Amount(1, 2, 2)):
        assert not Amount(1, 2, 3).fits(bound)
