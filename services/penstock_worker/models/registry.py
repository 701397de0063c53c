"""Which architectures are supported. A new family is a file that reads its config, and a line here."""

from collections.abc import Callable
from pathlib import Path

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.config_file import ConfigFile, read_json_object
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.gemma2 import read_gemma2
from penstock_worker.models.gemma3 import read_gemma3
from penstock_worker.models.llama import read_llama
from penstock_worker.models.mistral import read_mistral
from penstock_worker.models.phi3 import read_phi3
from penstock_worker.models.qwen2 import read_qwen2
from penstock_worker.models.qwen3 import read_qwen3

FAMILIES: dict[str, Callable[[ConfigFile], DecoderConfig]] = {
    "Gemma2ForCausalLM": read_gemma2,
    "Gemma3ForCausalLM": read_gemma3,
    "LlamaForCausalLM": read_llama,
    "MistralForCausalLM": read_mistral,
    "Phi3ForCausalLM": read_phi3,
    "Qwen2ForCausalLM": read_qwen2,
    "Qwen3ForCausalLM": read_qwen3,
}


def read_model_config(model_dir: Path) -> tuple[str, DecoderConfig]:
    """Architecture and configuration of the checkpoint in `model_dir`.

    Raises:
        InvalidArgumentError: no readable config.json, an architecture that is not supported, or a field that is not.
    """
    file = ConfigFile(read_json_object(model_dir / "config.json"))
    architectures = file.strings("architectures")
    for architecture in architectures:
        if architecture in FAMILIES:
            return architecture, FAMILIES[architecture](file)
    raise InvalidArgumentError("config.json architectures", architectures, ", ".join(FAMILIES))
