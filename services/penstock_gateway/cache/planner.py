"""Decides by a request what the cache may do for it, and whether equal requests may share its generation."""

from dataclasses import dataclass

from penstock_gateway.cache.answer_key import AnswerKey, answer_digest
from penstock_gateway.cache.context_key import SemanticPart, semantic_part, why_exact_only
from penstock_gateway.cache.error_rates import ErrorRates
from penstock_gateway.cache.sampling_class import SamplingClass, sampling_class
from penstock_gateway.events import CacheOutcome, CacheReport
from penstock_gateway.requests import CacheMode, CachePolicy, GenerationRequest
from penstock_shared.directory import ModelSpec


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the cache may do for one request.

    Attributes:
        policy: of the request.
        key: what its answer is kept under; None: it is neither looked up nor kept.
        flight_key: names the answer to equal requests under way; None: nobody shares it.
        max_error_rate: in force for what is found by meaning.
        restriction: why only the answer to the very same request is told; empty where another wording's may be.
        report: what is told where nothing is looked up; None: look it up.
    """

    policy: CachePolicy
    key: AnswerKey | None
    flight_key: bytes | None
    max_error_rate: float
    restriction: str
    report: CacheReport | None

    @property
    def lookup_key(self) -> AnswerKey | None:
        """What an answer is looked for by; None: none is.

        A client that asks for token ids wants those of its own prompt; its answer serves others all the same.
        """
        if self.key is None or self.report is not None:
            return None
        return self.key.exact_only() if self.restriction else self.key


class CachePlanner:
    """Plans; does nothing.

    Args:
        rates: who accepts which share of wrong answers.
        has_service: whether there is a cache service.
        max_output_tokens: the service's bound for requests that name none.
    """

    def __init__(self, rates: ErrorRates, *, has_service: bool, max_output_tokens: int) -> None:
        self._rates = rates
        self._has_service = has_service
        self._max_output_tokens = max_output_tokens

    def plan(self, asked: GenerationRequest, spec: ModelSpec, tenant: str) -> CacheUse:
        """What may be done for a valid request."""
        rate = self._rates.in_force(asked.cache, tenant=tenant, model=spec.name)
        kind = sampling_class(asked, spec)
        digest = self._exact_digest(asked, spec, tenant, kind)
        is_shared = kind is not SamplingClass.FREE and asked.cache.mode is CacheMode.USE
        is_shared &= asked.sampling.prompt_logprobs is None
        why_not = self._why_not(asked, digest)
        why_exact = "the accepted error rate is 0" if rate == 0 else why_exact_only(asked, spec)
        key = None
        if digest is not None and why_not is None:
            semantic = None if why_exact else self._semantic_part(asked, spec, tenant)
            key = AnswerKey(tenant, spec.name, digest, semantic, is_scoped=asked.cache.scope is not None)
        return CacheUse(
            policy=asked.cache,
            key=key,
            flight_key=digest if is_shared else None,
            max_error_rate=rate,
            restriction=why_exact or ("the request asks for token ids" if asked.is_returning_token_ids else ""),
            report=_bypassed(asked) if asked.cache.mode is CacheMode.REFRESH and why_not is None else why_not,
        )

    def _exact_digest(
        self, asked: GenerationRequest, spec: ModelSpec, tenant: str, kind: SamplingClass
    ) -> bytes | None:
        """Names the answer; None: nobody may be told it again.

        To a free request any sample is as good as another, but by default each gets one of its own: only a client that
        names an error rate has said that an earlier answer will do.
        """
        takes_earlier = kind is not SamplingClass.FREE or bool(asked.cache.max_error_rate)
        if asked.cache.mode is CacheMode.BYPASS or not takes_earlier:
            return None
        return answer_digest(asked, spec, tenant=tenant, max_output_tokens=self._max_output_tokens)

    def _semantic_part(self, asked: GenerationRequest, spec: ModelSpec, tenant: str) -> SemanticPart:
        return semantic_part(asked, spec, tenant=tenant, max_output_tokens=self._max_output_tokens)

    def _why_not(self, asked: GenerationRequest, digest: bytes | None) -> CacheReport | None:
        """Why nothing may be kept."""
        if asked.cache.mode is CacheMode.BYPASS:
            return _bypassed(asked)
        if not self._has_service:
            return CacheReport(CacheOutcome.SKIPPED, "no cache is configured")
        if digest is None:
            return CacheReport(CacheOutcome.SKIPPED, "sampled without a seed: every answer is another")
        if asked.sampling.logprobs is not None or asked.sampling.prompt_logprobs is not None:
            return CacheReport(CacheOutcome.SKIPPED, "log probabilities are not kept")
        return None


def _bypassed(asked: GenerationRequest) -> CacheReport:
    return CacheReport(CacheOutcome.BYPASSED, f"the request says {asked.cache.mode.name.lower()}")
