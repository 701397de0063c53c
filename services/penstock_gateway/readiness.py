"""Whether the gateway can serve, and what is missing where it cannot."""

import asyncio
from collections.abc import Awaitable, Callable

from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.models import ModelCatalog
from penstock_gateway.text.tokenizer_client import TokenizerClient
from penstock_gateway.text.vocabulary import VocabularyStore
from penstock_shared.errors import PenstockError
from penstock_shared.logs import get_logger

_PROBE_INTERVAL_S = 0.2


class Readiness:
    """Looks again and again, and fetches vocabularies before the first request needs them.

    Args:
        models: the directory's.
        tokenizer: asked for its health.
        vocabularies: filled ahead.
        dispatcher: knows the open sessions.
        on_change: told whether the gateway can serve, when that changes.
    """

    def __init__(
        self,
        *,
        models: ModelCatalog,
        tokenizer: TokenizerClient,
        vocabularies: VocabularyStore,
        dispatcher: Dispatcher,
        on_change: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._models = models
        self._tokenizer = tokenizer
        self._vocabularies = vocabularies
        self._dispatcher = dispatcher
        self._on_change = on_change
        self._is_tokenizer_serving = False
        self._log = get_logger("readiness")

    def missing(self) -> list[str]:
        """What keeps the gateway from serving; empty when it can serve."""
        served = [model.spec for model in self._models.served()]
        found = []
        if not served:
            found.append("no model is known: the fleet has not been reached")
        if not self._is_tokenizer_serving:
            found.append("the tokenizer service is out of reach or not ready")
        if served and not any(self._vocabularies.has(spec) for spec in served):
            found.append("no vocabulary has been fetched")
        if served and not any(self._can_serve(spec.name) for spec in served):
            found.append("no session to a ready replica is open")
        return found

    async def run(self) -> None:
        """Watches until cancelled."""
        was_ready = False
        while True:
            self._is_tokenizer_serving = await self._tokenizer.is_serving()
            await self._fetch_vocabularies()
            is_ready = not self.missing()
            if is_ready != was_ready:
                was_ready = is_ready
                self._log.info("serving" if is_ready else "not serving", missing=self.missing())
                await self._on_change(is_ready)
            await asyncio.sleep(_PROBE_INTERVAL_S)

    async def _fetch_vocabularies(self) -> None:
        for spec in self._models.revisions if self._is_tokenizer_serving else ():
            if not self._vocabularies.has(spec):
                try:
                    await self._vocabularies.get(spec)
                except PenstockError as error:
                    self._log.warning("no vocabulary", model=spec.name, error=error.message)

    def _can_serve(self, model: str) -> bool:
        """A replica takes work, or the first request brings one up."""
        return self._dispatcher.num_ready(model) > 0 or model in self._models.asleep
