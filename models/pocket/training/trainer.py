"""The training loop: Muon and AdamW over packed rows, loss on answers only."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from muon import Muon
from packing import IGNORED, Batch, Example, collate
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True, slots=True)
class Recipe:
    """Optimiser settings; learning rates rise for `warmup_steps` and fall linearly to zero."""

    matrix_learning_rate: float = 0.02
    """Muon, for the matrices of the layers."""
    other_learning_rate: float = 5e-3
    """AdamW, for the embeddings and norms."""
    warmup_steps: int = 50
    weight_decay: float = 0.05
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.98)
    gradient_norm: float = 1.0
    validate_every: int = 100
    batch_tokens: int = 2048
    seed: int = 7

    def fraction(self, step: int, num_steps: int) -> float:
        """Share of the peak learning rates at a step, counted from 0."""
        rise = (step + 1) / self.warmup_steps
        fall = (num_steps - step) / max(1, num_steps - self.warmup_steps)
        return min(1.0, rise, fall)


@dataclass(slots=True)
class History:
    """Losses in nats a target token, by step."""

    train: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    num_tokens: int = 0
    duration_s: float = 0.0


def new_model(vocabulary_size: int, context_length: int, end_id: int, pad_id: int, seed: int) -> LlamaForCausalLM:
    """A small Llama: 5 layers of width 256, 8 query heads on 2 key-value heads, tied embeddings."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary_size,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=5,
            num_attention_heads=8,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=context_length,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=end_id,
            pad_token_id=pad_id,
        )
    )


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross entropy over the target tokens; logits are computed for those alone."""
    states = model.model(
        input_ids=batch.ids, position_ids=batch.positions, attention_mask=batch.mask, use_cache=False
    ).last_hidden_state
    wanted = batch.targets != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(states[wanted]), batch.targets[wanted])


class Optimiser:
    """Muon for the layers' matrices, AdamW for embeddings and norms, under one schedule."""

    def __init__(self, model: LlamaForCausalLM, recipe: Recipe) -> None:
        self._parameters = list(model.parameters())
        matrices = [p for p in model.model.layers.parameters() if p.ndim > 1]
        chosen = {id(p) for p in matrices}
        others = [p for p in self._parameters if id(p) not in chosen]
        muon = Muon(matrices, recipe.matrix_learning_rate, recipe.momentum, recipe.weight_decay)
        adam = torch.optim.AdamW(others, recipe.other_learning_rate, recipe.betas, weight_decay=0.0, fused=True)
        self._parts = ((muon, recipe.matrix_learning_rate), (adam, recipe.other_learning_rate))
        self._gradient_norm = recipe.gradient_norm

    def step(self, fraction: float) -> None:
        """Clip the gradients, update at this share of the peak rates, clear the gradients."""
        torch.nn.utils.clip_grad_norm_(self._parameters, self._gradient_norm)
        for part, peak in self._parts:
            part.param_groups[0]["lr"] = peak * fraction
            part.step()
            part.zero_grad()


def train(
    model: LlamaForCausalLM,
    rows: Sequence[Sequence[Sequence[Example]]],
    held_out: Batch,
    pad_id: int,
    recipe: Recipe,
) -> History:
    """One pass over the batches, with a progress bar and the held-out loss beside it."""
    history = History()
    optimiser = Optimiser(model, recipe)
    started = time.monotonic()
    with progress() as bar:
        task = bar.add_task("training", total=len(rows), train=0.0, held=0.0)
        for step, batch in enumerate(collate(batch_rows, pad_id) for batch_rows in rows):
            loss = loss_of(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step(recipe.fraction(step, len(rows)))
            history.train.append((step, loss.item()))
            history.num_tokens += batch.ids.numel()
            if step % recipe.validate_every == 0 or step == len(rows) - 1:
                with torch.no_grad():
                    history.held_out.append((step, loss_of(model, held_out).item()))
                bar.console.print(f"step {step}: held-out loss {history.held_out[-1][1]:.4f}")
            bar.update(task, advance=1, train=history.train[-1][1], held=history.held_out[-1][1])
    history.duration_s = time.monotonic() - started
    return history


def progress() -> Progress:
    """A bar with steps, time and both losses."""
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[train]:.3f}, held-out {task.fields[held]:.3f}"),
        refresh_per_second=0.5,
    )


def smoothed(losses: Sequence[tuple[int, float]], window: int) -> Iterator[tuple[int, float]]:
    """Means of consecutive windows, at the last step of each."""
    for start in range(0, len(losses), window):
        chunk = losses[start : start + window]
        yield chunk[-1][0], sum(loss for _, loss in chunk) / len(chunk)
