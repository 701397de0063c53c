"""Explorations under way: between a lookup that asked for the model's answer, and that answer."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exploration:
    """A candidate that a model's answer is to be compared with.

    Attributes:
        tenant, model, exact_digest: of the request that explores; an answer to another one proves nothing.
        entry_id: of the candidate.
        cluster: of the candidate.
        score: logit that it serves, by what decided.
        propensity: the probability with which such a candidate is explored; below one where it is an audit.
    """

    tenant: str
    model: str
    exact_digest: bytes
    entry_id: str
    cluster: str
    score: float
    propensity: float

    @property
    def is_audit(self) -> bool:
        """Whether the candidate would have been served, had the draw not fallen on it."""
        return self.propensity < 1


class Explorations:
    """Hands out a token for each exploration, good once, for a while, and for one request of one tenant.

    Args:
        max_open: how many may be under way, of all tenants; the oldest is forgotten for a new one.
        max_open_of_tenant: how many of them one tenant may have.
        lifetime_s: how long a token is good.
        clock: monotonic seconds.
        new_token: makes unguessable tokens.
    """

    def __init__(
        self,
        *,
        max_open: int,
        max_open_of_tenant: int,
        lifetime_s: float,
        clock: Callable[[], float],
        new_token: Callable[[], bytes],
    ) -> None:
        self._max_open = max_open
        self._max_open_of_tenant = max_open_of_tenant
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._new_token = new_token
        self._open: OrderedDict[bytes, tuple[float, Exploration]] = OrderedDict()  # oldest first
        self._num_of_tenant: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"Explorations({len(self._open)}/{self._max_open})"

    def begin(self, exploration: Exploration) -> bytes:
        """Remembers an exploration and returns its token."""
        self._forget_expired()
        if self._num_of_tenant[exploration.tenant] >= self._max_open_of_tenant:
            self._forget(next(token for token, (_, each) in self._open.items() if each.tenant == exploration.tenant))
        elif len(self._open) >= self._max_open:
            self._forget(next(iter(self._open)))
        token = self._new_token()
        self._open[token] = (self._clock() + self._lifetime_s, exploration)
        self._num_of_tenant[exploration.tenant] += 1
        return token

    def end(self, token: bytes, tenant: str, exact_digest: bytes) -> Exploration | None:
        """The exploration of that token; None where it has expired, was ended, or belongs to another request."""
        self._forget_expired()
        found = self._open.get(token)
        if found is None or (found[1].tenant, found[1].exact_digest) != (tenant, exact_digest):
            return None
        self._forget(token)
        return found[1]

    def _forget_expired(self) -> None:
        now_s = self._clock()
        while self._open:
            token, (expires_s, _) = next(iter(self._open.items()))
            if expires_s > now_s:
                return
            self._forget(token)

    def _forget(self, token: bytes) -> None:
        _, exploration = self._open.pop(token)
        self._num_of_tenant[exploration.tenant] -= 1
        if not self._num_of_tenant[exploration.tenant]:
            del self._num_of_tenant[exploration.tenant]
