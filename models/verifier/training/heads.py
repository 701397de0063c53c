"""Trains an alignment head on replays of the training families; its weights are named as the service reads them."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from head_corpus import Corpus, Groups
from head_network import AlignmentHead, HeadShape
from numpy.typing import NDArray
from torch.nn import functional

NUM_EPOCHS = 4
RATE = 2e-3
WEIGHT_DECAY = 0.02
BATCH = 32
NUM_CANDIDATES = 6
"""In training; two fewer than in service save half of the time."""
Numbers = NDArray[np.int64]


def train_heads(corpus: Corpus, members: Numbers, *, seeds: Sequence[int] = (0,)) -> dict[str, NDArray[Any]]:
    """Arrays for `AlignmentHeads`: the rarity of wordpieces, and one head a seed."""
    arrays: dict[str, NDArray[Any]] = {"rarity": corpus.rarity_bytes}
    for number, seed in enumerate(seeds):
        head = train_head(corpus, members, seed)
        arrays |= {f"head.{number}.{name}": value.numpy() for name, value in head.state_dict().items()}
    return arrays


def train_head(corpus: Corpus, members: Numbers, seed: int) -> AlignmentHead:
    """One head; every epoch replays the families in a new order."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = AlignmentHead(HeadShape())
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    num_steps = NUM_EPOCHS * (len(members) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=num_steps, pct_start=0.1)
    for epoch in range(NUM_EPOCHS):
        groups, started, losses = corpus.epoch(members, rng, NUM_CANDIDATES), time.monotonic(), []
        for rows in _batches(corpus, groups, rng):
            serves, is_there = corpus.serves(groups, rows)
            logits = head(corpus.batch(groups, rows))
            loss = functional.binary_cross_entropy_with_logits(logits[is_there], serves[is_there])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"head {seed} epoch {epoch}: loss {np.mean(losses):.4f}, {time.monotonic() - started:.0f} s", flush=True)
    return head.eval()


def _batches(corpus: Corpus, groups: Groups, rng: np.random.Generator) -> list[Numbers]:
    """Rows of about one length together, the batches in random order."""
    longest = np.maximum(corpus.lengths(groups.queries), corpus.lengths(groups.candidates).max(axis=1))
    order = np.argsort(longest + rng.random(len(longest)) * 3)
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [batches[number] for number in rng.permutation(len(batches))]
