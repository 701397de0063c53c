"""How free a request leaves its answer: what may be shared depends on it."""

from enum import StrEnum

from penstock_gateway.requests import GenerationRequest
from penstock_shared.directory import ModelSpec


class SamplingClass(StrEnum):
    """How an answer is drawn.

    GREEDY has one answer, the likeliest. SEEDED has one as well, but a drawn one: the seed asks for that very sample,
    and another wording of the prompt gives another. FREE takes any sample.
    """

    GREEDY = "greedy"
    SEEDED = "seeded"
    FREE = "free"


def sampling_class(asked: GenerationRequest, spec: ModelSpec) -> SamplingClass:
    """The class of a request, the model's defaults filled in."""
    temperature = asked.sampling.temperature
    if (spec.sampling_defaults.temperature if temperature is None else temperature) == 0:
        return SamplingClass.GREEDY
    return SamplingClass.FREE if asked.sampling.seed is None else SamplingClass.SEEDED
