"""The engines of a contest: ours, transformers, and the peers that have an environment."""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """One engine.

    Attributes:
        name: in results and on the command line.
        title: for people.
        runner: module of `engine_bench.runners`.
        environment: folder of its virtual environment under the cache; None is this process's own.
        int8: what the engine calls int8.
        converter: module that makes its own files of the checkpoint; None reads safetensors.
        preload: library of its environment that its documentation says to load first.
        has_own_int8_file: reads int8 from the W8A8 checkpoint rather than quantizing at load.
    """

    name: str
    title: str
    runner: str
    int8: str
    environment: str | None = None
    converter: str | None = None
    preload: str | None = None
    has_own_int8_file: bool = False

    def python(self, cache_dir: Path) -> Path | None:
        """Its interpreter; None where it is not installed. `bench/peers/setup` marks what it has finished."""
        if self.environment is None:
            return Path(sys.executable)
        environment = cache_dir / "peers" / self.environment
        return environment / "bin" / "python" if (environment / "installed").exists() else None


ENGINES = (
    EngineKind(name="penstock", title="Penstock", runner="penstock", int8="W8A8, per token"),
    EngineKind(name="transformers", title="transformers", runner="transformers", int8="none"),
    EngineKind(
        name="openvino",
        title="OpenVINO GenAI",
        runner="openvino",
        int8="int8 weights, activations quantized as it chooses",
        environment="openvino",
        converter="openvino_models",
    ),
    EngineKind(
        name="vllm",
        title="vLLM (CPU)",
        runner="vllm",
        int8="W8A8, per token; output projection in bf16",
        environment="vllm-cpu",
        preload="lib/libiomp5.so",
        has_own_int8_file=True,
    ),
    EngineKind(
        name="llama.cpp",
        title="llama.cpp",
        runner="llama_cpp",
        int8="q8_0",
        environment="llama-cpp",
        converter="gguf_files",
    ),
)
