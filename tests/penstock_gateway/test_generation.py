"""In which order the events of a generation reach its clients."""

import itertools

from fakes.generations import VOCABULARY, follower, job

from penstock_gateway.events import FinishReason, TokenLogprobs
from penstock_gateway.generation import Generation


async def test_prompt_log_probabilities_come_before_the_output_of_any_choice() -> None:
    """The second choice runs on another replica, which does not score the prompt and is done sooner."""
    made = job(num_choices=2, prompt_token_ids=[1, 2, 3], prompt_logprobs=0)
    generation = Generation(made, vocabulary=VOCABULARY, new_sequence_id=itertools.count().__next__)
    client = follower(made)
    generation.join(client)
    first, second = generation.choices
    generation.take_output(second, [65], ())
    generation.end_choice(second, FinishReason.LENGTH, stop_token_id=None, cached_prompt_tokens=0)
    generation.take_prompt_logprobs([TokenLogprobs(2, -0.5, ())])
    generation.take_prompt_logprobs([TokenLogprobs(3, -0.5, ())])
    generation.take_output(first, [66], ())
    generation.end_choice(first, FinishReason.LENGTH, stop_token_id=None, cached_prompt_tokens=0)
    kinds = [type(event).__name__ for event in await client.buffer.next_events()]
    assert kinds == ["PromptLogprobs", "PromptLogprobs", "Delta", "Finished", "Delta", "Finished"]
    assert generation.is_over


async def test_a_prompt_of_one_token_holds_nothing_back() -> None:
    """It has no log probabilities to wait for."""
    made = job(prompt_token_ids=[1], prompt_logprobs=0)
    generation = Generation(made, vocabulary=VOCABULARY, new_sequence_id=lambda: 1)
    client = follower(made)
    generation.join(client)
    generation.take_output(generation.choices[0], [65], ())
    assert [type(event).__name__ for event in await client.buffer.next_events()] == ["Delta"]
