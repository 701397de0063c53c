"""Which architectures are supported. A new family is a file that reads its config, and a line here."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.bloom import read_bloom
from penstock_worker.models.config_file import ConfigFile, read_json_object
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.falcon import read_falcon
from penstock_worker.models.foreign_config import ForeignConfig, read_foreign_config
from penstock_worker.models.gemma2 import read_gemma2
from penstock_worker.models.gemma3 import read_gemma3, read_gemma3_text
from penstock_worker.models.gpt2 import read_gpt2
from penstock_worker.models.gpt_neox import read_gpt_neox
from penstock_worker.models.llama import read_llama
from penstock_worker.models.mistral import read_mistral
from penstock_worker.models.mixtral import read_mixtral
from penstock_worker.models.mpt import read_mpt
from penstock_worker.models.phi3 import read_phi3
from penstock_worker.models.qwen2 import read_qwen2
from penstock_worker.models.qwen2_moe import read_qwen2_moe
from penstock_worker.models.qwen3 import read_qwen3
from penstock_worker.models.qwen3_moe import read_qwen3_moe
from penstock_worker.models.stored_format import read_stored_format

_DECODER_SUFFIXES = ("ForCausalLM", "LMHeadModel")

FAMILIES: dict[str, Callable[[ConfigFile], DecoderConfig]] = {
    "BloomForCausalLM": read_bloom,
    "FalconForCausalLM": read_falcon,
    "GPT2LMHeadModel": read_gpt2,
    "GPTNeoXForCausalLM": read_gpt_neox,
    "Gemma2ForCausalLM": read_gemma2,
    "Gemma3ForCausalLM": read_gemma3,
    "Gemma3ForConditionalGeneration": read_gemma3_text,
    "LlamaForCausalLM": read_llama,
    "MistralForCausalLM": read_mistral,
    "MixtralForCausalLM": read_mixtral,
    "MptForCausalLM": read_mpt,
    "Phi3ForCausalLM": read_phi3,
    "Qwen2ForCausalLM": read_qwen2,
    "Qwen2MoeForCausalLM": read_qwen2_moe,
    "Qwen3ForCausalLM": read_qwen3,
    "Qwen3MoeForCausalLM": read_qwen3_moe,
}


def read_model_config(model_dir: Path) -> tuple[str, DecoderConfig]:
    """Architecture and configuration of the checkpoint in `model_dir`, of one of the families.

    Raises:
        InvalidArgumentError: no readable config.json, an architecture that is not supported, or a field that is not.
    """
    architecture, config = read_any_config(model_dir)
    if not isinstance(config, DecoderConfig):
        raise InvalidArgumentError("config.json architectures", architecture, ", ".join(FAMILIES))
    return architecture, config


def read_any_config(model_dir: Path) -> tuple[str, DecoderConfig | ForeignConfig]:
    """The same, or where no family knows the architecture, what can be said of a decoder of transformers.

    Raises:
        InvalidArgumentError: no readable config.json, an architecture that is no decoder, or a field that is not
            supported.
    """
    file = ConfigFile(read_json_object(model_dir / "config.json"))
    architectures = file.strings("architectures")
    for architecture in architectures:
        if architecture in FAMILIES:
            return architecture, _with_stored_format(FAMILIES[architecture](file), file)
    for architecture in architectures:
        if architecture.endswith(_DECODER_SUFFIXES):
            return architecture, read_foreign_config(file)
    allowed = f"{', '.join(FAMILIES)}, or another decoder of transformers, named ...{_DECODER_SUFFIXES[0]}"
    raise InvalidArgumentError("config.json architectures", architectures, allowed)


def _with_stored_format(config: DecoderConfig, file: ConfigFile) -> DecoderConfig:
    stored_format = read_stored_format(file)
    if stored_format is not None and config.names.is_transposed:
        raise file.refused("quantization_config", "none with this architecture")
    return replace(config, stored_format=stored_format)
