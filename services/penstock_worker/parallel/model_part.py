"""The part of a model that a shard holds, in memory."""

from contextlib import suppress
from pathlib import Path

import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.build_runner import build_runner, plan_cache
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.load_model import load_own
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.engine.plan import StepPlan
from penstock_worker.models.adapters import AdapterBank
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.registry import read_any_config
from penstock_worker.models.shard import Shard
from penstock_worker.parallel.staged_model import staged
from penstock_worker.parallel.wiring import Wiring


class ModelPart:
    """A `ShardModel`.

    Args:
        model_dir: of the checkpoint, on this host.
        config: what the operator set.
        shard: the part.
        wiring: of this process.
        num_sharing: how many processes of the replica take of this host's memory.

    Raises:
        InvalidArgumentError: the checkpoint or a setting is not supported; says what is.
    """

    def __init__(
        self, model_dir: Path, config: EngineConfig, shard: Shard, wiring: Wiring, *, num_sharing: int
    ) -> None:
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        architecture, model_config = read_any_config(model_dir)
        if not isinstance(model_config, DecoderConfig):
            raise InvalidArgumentError("config.json architectures", architecture, "a family of docs/models.md")
        model = load_own(Checkpoint(model_dir), model_config, config, shard, wiring.group, num_sharing=num_sharing)
        self._model = staged(model, wiring)
        self._config = config
        self._has_logits = shard.is_last_stage
        self._runner: ModelRunner | None = None
        self.weight_bytes = model.num_bytes
        self.num_blocks = plan_cache(model, config, shard, num_sharing=num_sharing).num_blocks

    def allocate(self, num_blocks: int) -> None:
        """See `ShardModel`."""
        self._runner = build_runner(self._model, num_blocks, self._config)

    def run(self, plan: StepPlan) -> None:
        """See `ShardModel`. In the last stage every part of the vocabulary has its share of each row of logits."""
        assert self._runner is not None, "allocate comes first"
        if self._has_logits:
            self._runner.run(plan)
        else:
            self._runner.run_layers(plan)

    def load_adapter(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """See `ShardModel`."""
        self._adapters.load(adapter_id, adapter_dir, revision)

    def drop_adapter(self, adapter_id: int) -> None:
        """See `ShardModel`."""
        with suppress(KeyError):  # another shard could not read it, and this one neither
            self._adapters.drop(adapter_id)

    @property
    def _adapters(self) -> AdapterBank:
        assert self._model.adapters is not None, "our own decoders take adapters"
        return self._model.adapters
