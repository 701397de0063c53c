"""Metrics of a run as JSON, its loss curve as PNG and the measured block of the model card."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from evaluate import Score
from trainer import History, smoothed

mpl.use("Agg")

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LOSS_WINDOW_STEPS = 25
TITLES = {
    "held_out_templates": "Held-out templates",
    "held_out_operands": "Held-out operands",
    "handwritten": "Hand-written questions",
}


def metrics(
    num_parameters: int, history: History, scores: dict[str, Score], settings: dict[str, Any]
) -> dict[str, Any]:
    """Everything the card reports, JSON-ready."""
    return {
        "num_parameters": num_parameters,
        "num_steps": history.num_steps,
        "num_tokens": history.num_tokens,
        "duration_s": round(history.duration_s),
        "final_train_loss": round(list(smoothed(history.train, LOSS_WINDOW_STEPS))[-1][1], 4),
        "final_held_out_loss": round(history.held_out[-1][1], 4),
        "exact_match": {name: summary(result) for name, result in scores.items()},
        "settings": settings,
    }


def history_of(folder: Path) -> History:
    """The effort behind a checkpoint with a metrics.json; its losses step by step are kept in the picture alone."""
    figures = json.loads(folder.joinpath("metrics.json").read_text())
    return History([], [], figures["num_steps"], figures["num_tokens"], figures["duration_s"])


def summary(result: Score) -> dict[str, Any]:
    """Counts of a score; the misses are printed, not kept."""
    return {
        "num_correct": result.num_correct,
        "num_questions": result.num_questions,
        "percent": result.percent,
        "by_domain": {domain: list(counts) for domain, counts in result.by_domain.items()},
    }


def write(
    folder: Path, num_parameters: int, history: History, scores: dict[str, Score], settings: dict[str, Any]
) -> None:
    """Write metrics.json and loss.png, and put the figures into README.md where it stands."""
    figures = metrics(num_parameters, history, scores, settings)
    folder.joinpath("metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    draw(history, folder / "loss.png")
    readme = folder / "README.md"
    if readme.exists():
        readme.write_text(with_block(readme.read_text(), block(figures)))


def draw(history: History, path: Path) -> None:
    """Loss curves over steps on a logarithmic scale."""
    figure, axes = plt.subplots(figsize=(7, 4), dpi=110)
    axes.plot(*zip(*smoothed(history.train, LOSS_WINDOW_STEPS), strict=True), label="training")
    axes.plot(*zip(*history.held_out, strict=True), label="held-out templates")
    axes.set(xlabel="step", ylabel="loss (nats a target token)", yscale="log", title="Pocket: loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def block(figures: dict[str, Any]) -> str:
    """The measured part of the card as markdown."""
    sets = {title: figures["exact_match"][name] for name, title in TITLES.items()}
    return "\n\n".join((totals(sets), domains(sets), training(figures)))


def totals(sets: dict[str, dict[str, Any]]) -> str:
    """One line a set of questions."""
    lines = ["| Greedy exact match | correct | share |", "|---|---|---|"]
    lines += [
        f"| {title} | {result['num_correct']} of {result['num_questions']} | {result['percent']} % |"
        for title, result in sets.items()
    ]
    return "\n".join(lines)


def domains(sets: dict[str, dict[str, Any]]) -> str:
    """One line a domain, one column a set."""
    lines = ["| Domain | " + " | ".join(sets) + " |", "|---" * (1 + len(sets)) + "|"]
    names = sorted(set().union(*(result["by_domain"] for result in sets.values())))
    lines += [f"| {name} | " + " | ".join(cell(result, name) for result in sets.values()) + " |" for name in names]
    return "\n".join(lines)


def training(figures: dict[str, Any]) -> str:
    """The effort and the losses in a sentence."""
    planned, minutes = figures["settings"]["planned_steps"], figures["duration_s"] / 60
    return (
        f"{figures['num_parameters']:,} parameters; {figures['num_steps']:,} steps of {planned:,} planned, over "
        f"{figures['num_tokens']:,} tokens in {minutes:.0f} minutes on two shared CPU cores; final loss "
        f"{figures['final_train_loss']} (training) and {figures['final_held_out_loss']} (held-out templates)."
    )


def cell(match: dict[str, Any], domain: str) -> str:
    """One domain of one set, or a dash if the set has no such questions."""
    if domain not in match["by_domain"]:
        return "-"
    num_correct, num_questions = match["by_domain"][domain]
    return f"{num_correct} of {num_questions}"


def with_block(text: str, measured: str) -> str:
    """The card with whatever stood between the markers replaced."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{measured}\n{END}{rest.partition(END)[2]}"
