"""Exports a checkpoint to OpenVINO, in bf16 and with int8 weights. Runs in OpenVINO's environment.

python -m engine_bench.converters.openvino_models MODEL_DIR OUTPUT_DIR
"""

import subprocess
import sys
from pathlib import Path

_FORMATS = {"bf16": "fp16", "int8": "int8"}
"""The exporter has no bf16. What is stored in fp16 is computed in bf16, as the runner asks."""


def export(model_dir: Path, output_dir: Path, weight_format: str) -> None:
    """One model with its tokenizer."""
    command = Path(sys.executable).with_name("optimum-cli")
    options = ("--task", "text-generation-with-past", "--weight-format", weight_format)
    subprocess.run([command, "export", "openvino", "--model", model_dir, *options, output_dir], check=True)


if __name__ == "__main__":
    for _name, _format in _FORMATS.items():
        export(Path(sys.argv[1]), Path(sys.argv[2]) / _name, _format)
