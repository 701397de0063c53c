"""Prompts that wait for a vector of the present encoder get one, in the background."""

import asyncio

import numpy as np

from penstock_cache.entries import SemanticPart
from penstock_cache.semantic.encoder import Encoder, UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.store import Store
from penstock_shared.logs import get_logger

_BATCH = 16
_NO_ENCODER = ""  # the fingerprint of none, so nothing is ever searched in what waits


def without_vector(context_digest: bytes, text: str, cluster: str | None) -> SemanticPart:
    """A prompt that nobody finds until `Reembedding` has encoded it."""
    return SemanticPart(context_digest, EncodedPrompt(text, np.zeros(1, np.float32)), _NO_ENCODER, cluster)


class Reembedding:
    """Encodes what another encoder has encoded, behind all lookups. Until then such a prompt is not found.

    Of instances with different encoders over one database the one that began last has its way; the others leave it to
    that, for they would undo each other's work for ever.

    Args:
        store: has the prompts.
        encoder: the present one.
        interval_s: how long it rests when nothing waits.
    """

    def __init__(self, store: Store, encoder: Encoder, *, interval_s: float) -> None:
        self._store = store
        self._encoder = encoder
        self._interval_s = interval_s
        self._is_claimed = False
        self._is_told = False
        self._log = get_logger("reembedding")

    async def run(self) -> None:
        """Goes on until it is cancelled; a failure is the next round's matter."""
        while True:
            try:
                num_replaced = await self.round()
            except Exception as error:  # noqa: BLE001 - whatever fails, lookups go on with what is encoded
                self._log.warning("could not encode stored prompts anew", error=str(error))
            else:
                if num_replaced:
                    self._log.info("encoded stored prompts anew", num_prompts=num_replaced)
            await asyncio.sleep(self._interval_s)

    async def round(self) -> int:
        """Encodes what waits, if this is the present encoder, which it becomes in its first round."""
        if not self._is_claimed:
            await self._store.claim_encoder(self._encoder.fingerprint)
            self._is_claimed = True
        if not self._is_told and not await self._store.is_present_encoder(self._encoder.fingerprint):
            self._is_told = True
            self._log.warning(
                "an instance with another encoder has begun over this database: prompts are encoded for that one,"
                " and this instance finds next to nothing by meaning until it has the same encoder",
                encoder=self._encoder.fingerprint[:16],
            )
        return await self.replace_all()

    async def replace_all(self) -> int:
        """Encodes until nothing waits; returns how many got a vector."""
        num_replaced = 0
        while stale := await self._store.stale_prompts(self._encoder.fingerprint, _BATCH):
            encoded = [(each.prompt_id, await self._encode(each.text)) for each in stale]
            num_replaced += await self._store.replace_prompts(self._encoder.fingerprint, encoded)
        return num_replaced

    async def _encode(self, text: str) -> EncodedPrompt:
        """What this encoder cannot read gets a vector that is near to nothing, and does not wait for ever."""
        try:
            return await self._encoder.encode(text, is_urgent=False)
        except UnreadablePromptError:
            return EncodedPrompt(text, np.zeros(self._encoder.dimension, np.float32))
