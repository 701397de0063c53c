"""What was loaded, for whoever states or prints it."""

from dataclasses import dataclass

from penstock_shared.directory import SamplingDefaults
from penstock_worker.engine.engine_config import OFF
from penstock_worker.engine.memory import KvPlan, shown_bytes
from penstock_worker.models.shard import WHOLE, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What was loaded.

    Attributes:
        architecture: as in config.json.
        revision: names the weights; see `models.revision`.
        context_length: most tokens of prompt and output together: the model's, unless the KV cache holds fewer.
        vocab_size: token ids are below it.
        eos_token_ids: tokens that end an output.
        sampling_defaults: from generation_config.json.
        dtype: of activations, KV cache and whatever weights are not quantized, e.g. "float32".
        quantization: how projections were rounded at load, e.g. "w8a8"; empty where they were not.
        is_deterministic: see `EngineConfig`.
        device: e.g. "cpu", "cuda:0".
        kernels: what computes, for the numerics fingerprint.
        num_parameters: tied ones counted once.
        weight_bytes: memory of the weights, in all processes together.
        kv_plan: size of the KV cache; of the engine's own part of it.
        drafts: who drafts tokens.
        shard: the engine's own part of the model.
    """

    architecture: str
    revision: str
    context_length: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    sampling_defaults: SamplingDefaults
    dtype: str
    quantization: str
    device: str
    kernels: str
    num_parameters: int
    weight_bytes: int
    kv_plan: KvPlan
    drafts: str = OFF
    is_deterministic: bool = False
    shard: Shard = WHOLE

    @property
    def plan(self) -> str:
        """The memory plan, some lines to print."""
        kv_plan = self.kv_plan
        precision = f"{self.dtype}, projections {self.quantization}" if self.quantization else self.dtype
        precision += ", deterministic" if self.is_deterministic else ""
        shard = self.shard
        split = f"tensor parallel {shard.tp_size}, pipeline parallel {shard.num_stages}"
        lines = (
            ("model", f"{self.architecture}, {self.num_parameters:,} parameters, {precision} on {self.device}"),
            *(() if shard.is_whole else (("shards", split),)),
            ("weights", shown_bytes(self.weight_bytes)),
            ("kv cache", f"{shown_bytes(kv_plan.num_bytes)}: {kv_plan.reason}"),
            ("", f"{kv_plan.num_blocks:,} blocks of {kv_plan.block_size} tokens, {kv_plan.num_tokens:,} tokens in all"),
            ("sequence", f"at most {self.context_length:,} tokens of prompt and output"),
            ("drafts", self.drafts),
        )
        return "\n".join(f"{name:<9} {text}" for name, text in lines)
