"""The alignment head: token vectors of a query against those of its candidates, with all candidates in view."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

FAR = -1e4


@dataclass(frozen=True, slots=True)
class HeadShape:
    """Sizes of a head."""

    layers: int = 4
    width: int = 64
    heads: int = 8
    head_width: int = 16
    token_hidden: int = 48
    hidden: int = 64
    compared: int = 32
    dropout: float = 0.2

    @property
    def channels(self) -> int:
        """Kinds of similarity: one for each layer, one for each learned view."""
        return self.layers + self.heads


@dataclass(frozen=True, slots=True)
class Batch:
    """B queries with K candidates each."""

    query: Tensor  # [B, n, layers, width]
    query_rarity: Tensor
    query_mask: Tensor
    stored: Tensor  # [B, K, m, layers, width]
    stored_rarity: Tensor
    stored_mask: Tensor
    cosines: Tensor  # [B, K]
    stored_cosines: Tensor  # [B, K, K]
    clusters: Tensor  # [B, K]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What needs no weights and so no gradients."""

    sims: Tensor  # [B, K, layers, n, m]
    novelty: Tensor  # [B, i, t, j]: how far token t of candidate i is from all of candidate j
    nearest: Tensor  # [B, i, t, j]: the token of candidate j that is nearest to it


@torch.no_grad()
def overlap_of(batch: Batch) -> Overlap:
    """Similarities of the frozen token vectors: query to candidates, and candidates to each other."""
    mask = batch.query_mask[:, None, None, :, None] & batch.stored_mask[:, :, None, None, :]
    sims = similarities(batch.query, batch.stored).masked_fill_(~mask, -1.0)
    count, length = batch.stored_mask.shape[1:]
    flat = batch.stored.flatten(-2).flatten(1, 2) / batch.stored.shape[-2] ** 0.5
    near = (flat @ flat.transpose(1, 2)).unflatten(-1, (count, length)).unflatten(1, (count, length))
    highest, nearest = near.masked_fill_(~batch.stored_mask[:, None, None], -1.0).max(-1)
    return Overlap(sims, (1.0 - highest).clamp(0.0, 1.0), nearest)


def similarities(query: Tensor, stored: Tensor) -> Tensor:
    """[B, K, channels, n, m] of [B, n, channels, d] and [B, K, m, channels, d]."""
    count, length = stored.shape[1:3]
    flat = query.permute(0, 2, 1, 3) @ stored.permute(0, 3, 4, 1, 2).flatten(3)
    return flat.unflatten(-1, (count, length)).permute(0, 3, 1, 2, 4)


class TokenPool(nn.Module):
    """Scores each token, then pools: mean, rarity-weighted mean, learned attention, maximum."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.weight = nn.Linear(hidden, 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, rarity: Tensor, mask: Tensor) -> Tensor:
        """[..., 4 * hidden] of [..., tokens, inputs]."""
        x = gelu(self.first(self.norm(features)))
        x = gelu(self.second(self.dropout(x)))
        hard = mask[..., None].float()
        weights = (self.weight(x) + 3.0 * rarity[..., None]).masked_fill(~mask[..., None], FAR).softmax(-2)
        soft = torch.einsum("...th,...ta->...ah", x, weights)
        mean = (x * hard).sum(-2) / hard.sum(-2).clamp(min=1.0)
        highest = x.masked_fill(~mask[..., None], -1.0).max(-2).values
        return torch.cat([soft.flatten(-2), mean, highest], -1)


class AlignmentHead(nn.Module):
    """Logit for each candidate that its answer serves the query."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        self.project = nn.Linear(shape.layers * shape.width, shape.heads * shape.head_width)
        self.mix = nn.Parameter(torch.zeros(shape.channels))
        self.sharpness = nn.Parameter(torch.tensor(12.0))
        self.compare = nn.Linear(2 * shape.heads * shape.head_width, shape.compared)
        inputs = 3 * shape.channels + shape.heads + shape.compared + 3
        self.query_pool = TokenPool(inputs, shape.token_hidden, shape.dropout)
        self.stored_pool = TokenPool(inputs, shape.token_hidden, shape.dropout)
        self.first = nn.Linear(8 * shape.token_hidden + 5, shape.hidden)
        self.pair = nn.Linear(2 * shape.hidden + 5, shape.hidden)
        self.last = nn.Sequential(
            nn.Linear(3 * shape.hidden, shape.hidden),
            nn.GELU(),
            nn.Dropout(shape.dropout),
            nn.Linear(shape.hidden, 1),
        )
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """[B, K], not calibrated."""
        overlap = overlap_of(batch)
        query, query_heads = self.views(batch.query)
        stored, stored_heads = self.views(batch.stored)
        pair_mask = batch.query_mask[:, None, None, :, None] & batch.stored_mask[:, :, None, None, :]
        fixed = overlap.sims
        learned = similarities(query, stored).masked_fill(~pair_mask, -1.0)
        best_query = torch.cat([fixed.amax(-1), learned.max(-1).values], 2).transpose(-1, -2)
        best_stored = torch.cat([fixed.amax(-2), learned.max(-2).values], 2).transpose(-1, -2)
        weights = self.mix.softmax(0)
        mixed = torch.einsum("bklnm,l->bknm", fixed, weights[: self.shape.layers])
        mixed = (mixed + torch.einsum("bklnm,l->bknm", learned, weights[self.shape.layers :])) * self.sharpness
        from_query = [best_query, *self.alignment(mixed, query_heads[:, None], stored_heads, batch.stored_mask)]
        from_stored = [
            best_stored,
            *self.alignment(mixed.transpose(-1, -2), stored_heads, query_heads[:, None], batch.query_mask[:, None]),
        ]
        others = self.other_weights(batch)
        from_query.append(self.query_margins(best_query, others))
        from_stored.append(self.stored_margins(best_stored, overlap, others))
        rarity_query = batch.query_rarity[:, None].expand(*best_query.shape[:-1])
        mask_query = batch.query_mask[:, None].expand_as(rarity_query)
        pooled = [
            self.query_pool(torch.cat([*from_query, rarity_query[..., None]], -1), rarity_query, mask_query),
            self.stored_pool(
                torch.cat([*from_stored, batch.stored_rarity[..., None]], -1), batch.stored_rarity, batch.stored_mask
            ),
            self.overall(batch),
        ]
        x = gelu(self.first(self.dropout(torch.cat(pooled, -1))))
        x = torch.cat([x, *self.against(x, batch, others)], -1)
        return self.last(x).squeeze(-1)

    def views(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors for each learned head, and the same flat."""
        heads = self.project(tokens.flatten(-2)).unflatten(-1, (self.shape.heads, self.shape.head_width))
        heads = heads * (heads.square().sum(-1, keepdim=True) + 1e-6).rsqrt()
        return heads, heads.flatten(-2)

    def alignment(self, mixed: Tensor, own: Tensor, other: Tensor, mask: Tensor) -> list[Tensor]:
        """For each token: how it compares with its soft-aligned counterpart."""
        weights = mixed.masked_fill(~mask[:, :, None, :], FAR).softmax(-1)
        aligned = weights @ other.expand(weights.shape[0], weights.shape[1], -1, -1)
        product = own * aligned
        compared = gelu(self.compare(torch.cat([product * 4.0, (own - aligned).abs() * 2.0], -1)))
        return [product.unflatten(-1, (self.shape.heads, -1)).sum(-1), compared]

    def other_weights(self, batch: Batch) -> Tensor:
        """[B, K, K]: how much candidate j matters as a sibling of candidate i; none of i's own cluster."""
        is_there = batch.stored_mask.any(-1)
        is_other = (batch.clusters[:, :, None] != batch.clusters[:, None, :]) & is_there[:, None, :]
        eye = torch.eye(is_other.shape[1], dtype=torch.bool)
        is_other = is_other & ~eye
        weights = (8.0 * batch.stored_cosines).masked_fill(~is_other, FAR).softmax(-1)
        return weights * is_other

    def query_margins(self, best: Tensor, others: Tensor) -> Tensor:
        """For each query token: its match here less its match in the siblings (weighted, and the best sibling)."""
        elsewhere = torch.einsum("bknc,bik->binc", best, others)
        highest = (best[:, None] + FAR * (others == 0.0)[..., None, None]).max(2).values
        has_other = (others.sum(-1) > 0)[..., None, None]
        margin = (best - elsewhere) * has_other
        top = torch.where(has_other, best - highest, torch.zeros(()))
        return torch.cat(
            [margin, top, margin.mean(-1, keepdim=True).abs(), has_other.expand_as(margin[..., :1]).float()], -1
        )

    def stored_margins(self, best: Tensor, overlap: Overlap, others: Tensor) -> Tensor:
        """For each stored token: where siblings have another word, does the query side with this one?"""
        novelty = overlap.novelty
        table = best[:, None].expand(-1, best.shape[1], -1, -1, -1)  # [B, i, j, m, c]
        index = overlap.nearest.transpose(2, 3)[..., None].expand(-1, -1, -1, -1, best.shape[-1])
        margin = (best[:, :, None] - table.gather(3, index)) * novelty.transpose(2, 3)[..., None]  # [B, i, j, t, c]
        weighted = torch.einsum("bijtc,bij->bitc", margin, others)
        worst = margin.masked_fill((others == 0.0)[..., None, None], 1.0).min(2).values
        worst = torch.where((others.sum(-1) > 0)[..., None, None], worst, torch.zeros(()))
        newness = torch.einsum("bitj,bij->bit", novelty, others)
        least = novelty.masked_fill((others == 0.0)[:, :, None, :], 1.0).amin(-1)
        return torch.cat([4.0 * weighted, 4.0 * worst, newness[..., None], least[..., None]], -1)

    def overall(self, batch: Batch) -> Tensor:
        """What is seen of a pair as a whole: cosine, its place among the others, lengths."""
        query_length = batch.query_mask.sum(-1, keepdim=True).expand_as(batch.cosines)
        stored_length = batch.stored_mask.sum(-1)
        best = batch.cosines.amax(-1, keepdim=True)
        parts = [
            batch.cosines,
            batch.cosines - best,
            query_length / 20.0,
            stored_length / 20.0,
            (query_length - stored_length).abs() / 20.0,
        ]
        return torch.stack(parts, -1)

    def against(self, x: Tensor, batch: Batch, others: Tensor) -> tuple[Tensor, Tensor]:
        """Each candidate against every other one: maximum over other clusters, mean over its own."""
        count = x.shape[1]
        gap = batch.cosines[:, :, None] - batch.cosines[:, None, :]
        distance = (2.0 - 2.0 * batch.stored_cosines).clamp(min=1e-3).sqrt()
        same = (batch.clusters[:, :, None] == batch.clusters[:, None, :]).float()
        seen = torch.stack([gap, gap / distance, batch.stored_cosines, same, others], -1)
        both = [x[:, :, None].expand(-1, -1, count, -1), x[:, None].expand(-1, count, -1, -1), seen]
        y = gelu(self.pair(torch.cat(both, -1)))
        is_there = batch.stored_mask.any(-1)[:, None, :, None].float()
        mean = (y * is_there).sum(2) / is_there.sum(2).clamp(min=1.0)
        highest = (y * is_there - (1.0 - is_there)).max(2).values
        return mean, highest
