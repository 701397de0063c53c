"""Runs steps on a model that several processes hold."""

from collections.abc import Callable

import torch

from penstock_worker.engine.model_runner import ModelRunner, StepLogits
from penstock_worker.engine.plan import StepPlan
from penstock_worker.parallel.micro_batches import micro_batches


class ShardedRunner:
    """The leader's `StepRunner`: tells the shards what to compute, and computes its own part of it.

    Args:
        runner: of the leader's own part, with the last layers.
        num_stages: that a step goes through.
        tell: hands the micro-batches of a step to all shards.
        on_failure: told of an exception in a step: the others wait in the middle of theirs, and nothing can go on.
    """

    def __init__(
        self,
        runner: ModelRunner,
        *,
        num_stages: int,
        tell: Callable[[list[StepPlan]], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._runner = runner
        self._num_stages = num_stages
        self._tell = tell
        self._on_failure = on_failure

    def run(self, plan: StepPlan) -> StepLogits:
        """See `ModelRunner.run`."""
        parts = micro_batches(plan, self._num_stages)
        try:
            self._tell(parts)
            outputs = [self._runner.run(part) for part in parts]
        except Exception as error:
            self._on_failure(error)
            raise
        return outputs[0] if len(outputs) == 1 else _joined(outputs)


def _joined(outputs: list[StepLogits]) -> StepLogits:
    """Of consecutive parts of a plan."""
    return StepLogits(
        values=torch.cat([output.values for output in outputs]),
        prompt_scores={key: scores for output in outputs for key, scores in output.prompt_scores.items()},
        pooled={key: vector for output in outputs for key, vector in output.pooled.items()},
    )
