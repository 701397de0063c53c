"""Scripted replicas as a fleet makes them, and finds them again after its own death."""

import json
from pathlib import Path

from fakes.scripted_replica import ScriptedReplica
from penstock_worker.fleet.checkpoint import inspect_checkpoint
from penstock_worker.fleet.spec import ReplicaShape
from penstock_worker.replica.registration import LoadFailure, Registration

_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
    "eos_token_id": 3,
}
_HEADER = json.dumps({"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()


def write_checkpoint(directory: Path, weight: int = 0) -> Path:
    """As much of a checkpoint as the fleet reads; another `weight` is another revision."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(_CONFIG))
    (directory / "tokenizer.json").write_text("{}")
    weights = len(_HEADER).to_bytes(8, "little") + _HEADER + bytes([weight]) * 8
    (directory / "model.safetensors").write_bytes(weights)
    return directory


class ScriptedReplicas:
    """Makes replicas that load well unless told otherwise; they outlive the fleet, as actors of Ray do.

    Attributes:
        by_id: those that were made last, by id.
        broken: checkpoints that no replica can load.
        slow: checkpoints whose replicas wait for `is_placed`.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, ScriptedReplica] = {}
        self.broken: set[Path] = set()
        self.slow: set[Path] = set()

    def make(self, replica_id: str, model: str, shape: ReplicaShape) -> ScriptedReplica:
        """The living one of that id, else a new one."""
        living = self.by_id.get(replica_id)
        if living is not None and not living.is_removed:
            return living
        spec = inspect_checkpoint(shape.model_dir, model)
        registration = Registration(
            f"127.0.0.1:{9 + len(self.by_id)}", spec.revision, spec.tokenizer_fingerprint, "n", ""
        )
        replica = self.by_id[replica_id] = ScriptedReplica(registration)
        if shape.model_dir in self.broken:
            replica.loads = [LoadFailure("the weights are of another model")]
        if shape.model_dir in self.slow:
            replica.is_placed.clear()
        return replica

    @property
    def living(self) -> list[str]:
        """Ids of those that were not removed."""
        return sorted(name for name, replica in self.by_id.items() if not replica.is_removed)
