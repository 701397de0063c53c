"""The training loop: Muon and AdamW over packed rows, loss on answers only."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from muon import Muon
from packing import IGNORED, Batch, Rows, collate
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True, slots=True)
class Recipe:
    """Optimiser settings; learning rates rise for `warmup_steps`, stay, and fall linearly to zero."""

    matrix_learning_rate: float = 0.02
    """Muon, for the matrices of the layers."""
    other_learning_rate: float = 5e-3
    """AdamW, for the embeddings and norms."""
    warmup_steps: int = 50
    peak: float = 1.0
    """Share of the learning rates that is the highest used."""
    fall_share: float = 0.95
    """Share of the run, counted from its end, over which the rates fall."""
    minutes: float | None = None
    """A run that would take longer ends here, its rates fallen to zero in time."""
    weight_decay: float = 0.05
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.98)
    gradient_norm: float = 1.0
    validate_every: int = 100
    batch_tokens: int = 2048
    seed: int = 7

    def progress(self, step: int, num_steps: int, elapsed_s: float) -> float:
        """Share of the run that is done, by steps or by time, whichever is further on; 1 ends it."""
        by_time = elapsed_s / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(step / num_steps, by_time))

    def fraction(self, step: int, progress: float) -> float:
        """Share of the learning rates at a step, counted from 0."""
        return self.peak * min(1.0, (step + 1) / self.warmup_steps, (1.0 - progress) / self.fall_share)


@dataclass(slots=True)
class History:
    """Losses in nats a target token, by step, and the effort behind them."""

    train: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    num_steps: int = 0
    num_tokens: int = 0
    duration_s: float = 0.0

    def then(self, later: "History") -> "History":
        """This cycle and a later one as one history."""
        return History(
            self.train + [(self.num_steps + step, loss) for step, loss in later.train],
            self.held_out + [(self.num_steps + step, loss) for step, loss in later.held_out],
            self.num_steps + later.num_steps,
            self.num_tokens + later.num_tokens,
            self.duration_s + later.duration_s,
        )


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
        self.parts: dict[str, torch.optim.Optimizer] = {
            "muon": Muon(matrices, recipe.matrix_learning_rate, recipe.momentum, recipe.weight_decay),
            "adamw": torch.optim.AdamW(others, recipe.other_learning_rate, recipe.betas, weight_decay=0.0, fused=True),
        }
        self._peaks = {"muon": recipe.matrix_learning_rate, "adamw": recipe.other_learning_rate}
        self._gradient_norm = recipe.gradient_norm

    def step(self, fraction: float) -> None:
        """Clip the gradients, update at this share of the peak rates, clear the gradients."""
        torch.nn.utils.clip_grad_norm_(self._parameters, self._gradient_norm)
        for name, part in self.parts.items():
            part.param_groups[0]["lr"] = self._peaks[name] * fraction
            part.step()
            part.zero_grad()


class Run:
    """A training run: what changes from step to step."""

    def __init__(self, model: LlamaForCausalLM, recipe: Recipe) -> None:
        self.model = model
        self.optimiser = Optimiser(model, recipe)
        self.history = History()

    def step(self, batch: Batch, fraction: float) -> None:
        """Learn from one batch at this share of the peak rates."""
        started = time.monotonic()
        loss = loss_of(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step(fraction)
        self.history.train.append((self.history.num_steps, loss.item()))
        self.history.num_steps += 1
        self.history.num_tokens += batch.ids.numel()
        self.history.duration_s += time.monotonic() - started

    @torch.no_grad()
    def validate(self, held_out: Batch) -> float:
        """Loss on questions that are not learned from."""
        self.history.held_out.append((self.history.num_steps, loss_of(self.model, held_out).item()))
        return self.history.held_out[-1][1]


def train(run: Run, rows: Rows, held_out: Batch, recipe: Recipe, save: Callable[[Run], None]) -> None:
    """One pass over the batches or what there is time for; goes on where the run stands."""
    history, pad_id = run.history, run.model.config.pad_token_id
    with progress() as bar:
        task = bar.add_task("training", total=len(rows), train=0.0, held=0.0)
        while (done := recipe.progress(history.num_steps, len(rows), history.duration_s)) < 1:
            if history.num_steps % recipe.validate_every == 0:
                bar.console.print(f"step {history.num_steps}: held-out loss {run.validate(held_out):.4f}")
                save(run)
            run.step(collate(rows[history.num_steps], pad_id), recipe.fraction(history.num_steps, done))
            losses = {"train": history.train[-1][1], "held": history.held_out[-1][1]}
            bar.update(task, completed=history.num_steps, **losses)
    run.validate(held_out)
    save(run)


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
