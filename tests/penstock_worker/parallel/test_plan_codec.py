"""Plans on the way to shards."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.pooling import Pooling
from penstock_worker.engine.scoring import Scoring
from penstock_worker.parallel.plan_codec import decode_plans, encode_plans

_INT64 = st.integers(0, 2**63 - 1)
_LISTS = st.lists(_INT64, max_size=5)
_ARRAYS = _LISTS.map(lambda numbers: array("q", numbers))
_SCORINGS = st.builds(Scoring, _INT64, _ARRAYS, _INT64)
_CHUNKS = st.builds(
    Chunk, _INT64, _ARRAYS, _INT64, _ARRAYS, _INT64, st.none() | _SCORINGS, st.none() | st.sampled_from(Pooling), _INT64
)
_PLANS = st.builds(StepPlan, st.lists(_CHUNKS, max_size=4), _LISTS)


@given(st.lists(_PLANS, max_size=3))
def test_what_is_decoded_is_what_was_encoded(plans: list[StepPlan]) -> None:
    """A shard that computes another plan than its leader waits for it for ever, or changes its neighbours' tokens."""
    assert decode_plans(encode_plans(plans)) == plans
