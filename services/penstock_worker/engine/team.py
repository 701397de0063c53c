"""How an engine shares its model with other processes, or does not."""

from dataclasses import dataclass
from typing import Protocol

import torch

from penstock_worker.engine.adapter_table import AdapterLoader
from penstock_worker.engine.engine import StepRunner
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.models.shard import WHOLE, Shard
from penstock_worker.models.tensor_group import Alone, TensorGroup


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all processes of a replica have come to.

    Attributes:
        num_blocks: KV blocks that each of them has room for.
        weight_bytes: of all their weights.
    """

    num_blocks: int
    weight_bytes: int


class Team(Protocol):
    """The processes of a replica, seen from the one with the engine. The methods come in their order."""

    @property
    def shard(self) -> Shard:
        """The engine's own part of the model."""

    def num_sharing_memory(self) -> int:
        """How many of the processes take of this host's memory."""

    def connect(self, device: torch.device) -> TensorGroup:
        """The group of the engine's own part, for tensors on that kind of device. The others begin to load."""

    def staged(self, model: RunnableModel) -> RunnableModel:
        """The engine's own part, with its place between the stages."""

    def agree(self, num_blocks: int, weight_bytes: int) -> Agreement:
        """Waits for what the others have loaded, given what this process has; all make their KV caches of it."""

    def runner(self, runner: ModelRunner) -> StepRunner:
        """Runs steps on all parts, given what runs them on the engine's own."""

    def adapters(self, loader: AdapterLoader | None) -> AdapterLoader | None:
        """Loads adapters everywhere, given what loads them here."""


class Solo:
    """A `Team` of one: the whole model is here."""

    shard = WHOLE

    def num_sharing_memory(self) -> int:
        """One."""
        return 1

    def connect(self, _device: torch.device) -> TensorGroup:
        """A group of one."""
        return Alone()

    def staged(self, model: RunnableModel) -> RunnableModel:
        """The model."""
        return model

    def agree(self, num_blocks: int, weight_bytes: int) -> Agreement:
        """What is here."""
        return Agreement(num_blocks, weight_bytes)

    def runner(self, runner: ModelRunner) -> StepRunner:
        """The runner."""
        return runner

    def adapters(self, loader: AdapterLoader | None) -> AdapterLoader | None:
        """The loader."""
        return loader
