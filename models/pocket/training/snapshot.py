"""Where a training run stands, in one safetensors file: weights, optimiser state and losses so far."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from trainer import History, Run

HISTORY = "history"


def save(run: Run, path: Path) -> None:
    """Replace the file as a whole, so that a run cut down while it saves keeps its last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    save_file(tensors(run), unfinished, metadata={HISTORY: json.dumps(asdict(run.history))})
    unfinished.replace(path)


def load(run: Run, path: Path) -> None:
    """Take up a saved run, made by the same command."""
    with safe_open(path, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        run.history = History(**json.loads(file.metadata()[HISTORY]))
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            parameter.copy_(stored[f"model/{name}"])
    for part, optimiser in run.optimiser.parts.items():
        found = optimiser.state_dict()
        optimiser.load_state_dict({**found, "state": state_of(stored, part)})


def tensors(run: Run) -> dict[str, torch.Tensor]:
    """Every tensor of the run, by a path such as "muon/3/average"."""
    named = {f"model/{name}": parameter.detach() for name, parameter in run.model.named_parameters()}
    for part, optimiser in run.optimiser.parts.items():
        for index, values in optimiser.state_dict()["state"].items():
            named |= {f"{part}/{index}/{key}": value for key, value in values.items()}
    return named


def state_of(stored: dict[str, torch.Tensor], part: str) -> dict[int, dict[str, torch.Tensor]]:
    """The state of one optimiser, by the number of its parameter."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for path, tensor in stored.items():
        head, _, rest = path.partition("/")
        if head == part:
            index, _, key = rest.partition("/")
            state.setdefault(int(index), {})[key] = tensor
    return state
