"""Mixtral: Mistral with routed experts in every layer."""

from dataclasses import replace

from penstock_worker.models.config_file import ConfigFile
from penstock_worker.models.decoder_config import DecoderConfig, ExpertsConfig, read_decoder_config
from penstock_worker.models.tensor_names import ExpertNames, TensorNames

_EXPERTS = ExpertNames(router="block_sparse_moe.gate", experts="block_sparse_moe.experts", up=("w1", "w3"), down="w2")
_DEFAULT_NUM_EXPERTS = 8


def read_mixtral(file: ConfigFile) -> DecoderConfig:
    """A token goes to two experts by default; their weights add up to one."""
    window = file.positive_integer("sliding_window") if file.has("sliding_window") else None
    windows = (window,) * file.positive_integer("num_hidden_layers")
    config = read_decoder_config(file, windows=windows, default_theta=1e6, default_eps=1e-5)
    num_experts = file.positive_integer("num_local_experts", _DEFAULT_NUM_EXPERTS)
    experts = ExpertsConfig(
        num_experts=num_experts,
        num_chosen=read_num_chosen(file, num_experts, default=2),
        intermediate_size=config.intermediate_size,
        has_normalized_weights=True,
    )
    return replace(config, experts=experts, names=TensorNames(experts=_EXPERTS))


def read_num_chosen(file: ConfigFile, num_experts: int, default: int) -> int:
    """How many experts a token goes to."""
    num_chosen = file.positive_integer("num_experts_per_tok", default)
    if num_chosen > num_experts:
        raise file.refused("num_experts_per_tok", f"at most the number of experts, {num_experts}")
    return num_chosen
