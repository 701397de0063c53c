"""What makes two requests the same: the digest that an answer is kept under, and what else it may be found by."""

from dataclasses import dataclass, replace

from penstock_gateway.cache.context_key import SemanticPart
from penstock_gateway.cache.key_parts import digest_of, request_parts, sampling_parts
from penstock_gateway.requests import GenerationRequest
from penstock_shared.directory import ModelSpec

# Changed whenever the same answers get other digests.
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """What an answer is found by.

    Attributes:
        tenant: whose it is.
        model: the name of the model; what is learned about prompts is kept for each.
        exact_digest: names the answer to the very same request.
        semantic: by what it is found for a like prompt; None: it is not.
        is_scoped: the request names a scope, so that prompts about persons stay among those who share it.
    """

    tenant: str
    model: str
    exact_digest: bytes
    semantic: SemanticPart | None = None
    is_scoped: bool = False

    def exact_only(self) -> "AnswerKey":
        """The same for the very same request only."""
        return replace(self, semantic=None)


def answer_digest(asked: GenerationRequest, spec: ModelSpec, *, tenant: str, max_output_tokens: int) -> bytes:
    """SHA-256 of the whole resolved request, in canonical JSON, and of whose it is.

    The prompt enters as it was sent, with the fingerprints of what turns it into token ids, so that the lookup need
    not wait for the tokenizer. The number of output tokens enters as the request and the model bound it; what the
    prompt leaves of the context follows from the rest.
    """
    return digest_of(
        request_parts(asked, spec, tenant=tenant)
        | {
            "format": _FORMAT,
            "input": [type(asked.input).__name__, asked.input],
            "sampling": sampling_parts(asked, spec, max_output_tokens),
        }
    )
