"""Reads the adapter_config.json of a LoRA adapter as PEFT writes it. Needs no torch."""

import math
from dataclasses import dataclass
from pathlib import Path

from penstock_worker.models.config_file import ConfigFile, read_json_object

# Each changes what is computed, and none of it is computed here.
_REFUSED_SWITCHES = (
    "use_dora",
    "use_qalora",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
)
# Ways to begin the training that leave the base model's weights as they are.
_HARMLESS_BEGINNINGS = ("gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """How an adapter's matrices enter: `W + scale * B A` (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        rank: rows of A, columns of B.
        scale: lora_alpha / rank, or lora_alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732).
    """

    rank: int
    scale: float


def read_lora_config(adapter_dir: Path) -> LoraConfig:
    """The configuration of the adapter in `adapter_dir`.

    Raises:
        InvalidArgumentError: it is not there, is of another kind, or asks for more than plain LoRA.
    """
    fields = read_json_object(adapter_dir / "adapter_config.json")
    file = ConfigFile(fields, "adapter_config.json")
    file.choice("peft_type", ["LORA"])
    if fields.get("bias", "none") != "none":
        raise file.refused("bias", "none")
    for name in _REFUSED_SWITCHES:
        if fields.get(name):
            raise file.refused(name, "nothing: only plain LoRA runs here")
    beginning = fields.get("init_lora_weights")
    if isinstance(beginning, str) and beginning not in _HARMLESS_BEGINNINGS:
        allowed = f"true, false, {', '.join(_HARMLESS_BEGINNINGS)}: others change the base model"
        raise file.refused("init_lora_weights", allowed)
    rank, alpha = file.positive_integer("r"), file.positive_number("lora_alpha")
    is_stabilised = file.flag("use_rslora", default=False)
    return LoraConfig(rank, alpha / (math.sqrt(rank) if is_stabilised else rank))
