"""A prefix that requests share is computed once by each replica, and then it attracts them."""

from concurrent.futures import ThreadPoolExecutor

from stack.running import RunningStack

from penstock import Answer
from penstock.worker.v1 import worker_pb2

SHARED = "The river runs through the old gate and down to the mill. " * 40


def test_sixteen_requests_at_once_compute_their_shared_prefix_once_a_replica(stack: RunningStack) -> None:
    """By the counters of the replicas, through client, tokenizer, gateway and workers."""
    before = _stats(stack)
    with stack.client() as client:

        def ask(number: int) -> Answer:
            return client.generate(f"{SHARED} {number}", max_tokens=2, temperature=0.0, cache="bypass")

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(16)))
        last = ask(16)
    num_shared = min(answer.usage.cached_prompt_tokens for answer in answers if answer.usage.cached_prompt_tokens)
    assert num_shared >= 512
    assert sum(answer.usage.cached_prompt_tokens == 0 for answer in answers) <= len(before)
    computed = sum(each.num_computed_tokens for each in _stats(stack)) - sum(
        each.num_computed_tokens for each in before
    )
    shared_anew = (17 - len(before)) * num_shared
    assert computed <= sum(each.usage.prompt_tokens + 2 for each in [*answers, last]) - shared_anew
    assert last.usage.cached_prompt_tokens >= num_shared
    assert f"prefix {last.usage.cached_prompt_tokens} of {last.usage.prompt_tokens} tokens" in last.routing_reason


def _stats(stack: RunningStack) -> list[worker_pb2.GetStatsResponse]:
    return [stack.worker_stats(replica.address) for replica in stack.replicas()]
