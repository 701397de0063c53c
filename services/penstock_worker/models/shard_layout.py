"""What a shard holds of each dimension of a model, and the configuration of what it holds. Needs no torch.

Column-parallel projections (queries, keys and values, up) have a part of their outputs here, row-parallel ones (out of
attention, down) a part of their inputs, as in Megatron-LM (Shoeybi et al. 2019, arXiv 1909.08053). Every expert is cut
like that, so that the shards have equal work whichever experts tokens choose.
"""

from dataclasses import dataclass, replace

from penstock_worker.models.cut import Cut, joined, part, shares, whole
from penstock_worker.models.decoder_config import DecoderConfig, ExpertsConfig
from penstock_worker.models.shard import Shard
from penstock_worker.models.split_check import check_split

# Kernels like parts of a multiple of this, and groups of rounded weights stay whole.
_GRAIN = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLayout:
    """What a shard holds.

    Attributes:
        layers: their indices.
        vocabulary: of the embedding's and the output projection's rows.
        query_heads, kv_heads: heads of each kind. Several ranks hold a key head where there are more ranks than those.
        queries, keys: outputs of the projections to them; those to values are as those to keys.
        qkv: outputs of the fused projection as it is stored.
        intermediate, expert, shared_expert: of the width of an MLP, of an expert, of the one that every token goes to.
    """

    layers: range
    vocabulary: Cut
    query_heads: Cut
    kv_heads: Cut
    queries: Cut
    keys: Cut
    qkv: Cut
    intermediate: Cut
    expert: Cut
    shared_expert: Cut


def shard_layout(config: DecoderConfig, shard: Shard) -> ShardLayout:
    """What `shard` holds of the model of `config`.

    Raises:
        InvalidArgumentError: the model cannot be cut into so many parts; names how many it can be cut into.
    """
    check_split(config, tensor_parallel=shard.tp_size, pipeline_parallel=shard.num_stages)
    query_heads, kv_heads = _heads(config, shard)
    queries, keys = query_heads.times(config.head_dim), kv_heads.times(config.head_dim)
    experts = config.experts
    qkv = _by_key_head(config, query_heads, kv_heads) if config.names.is_qkv_grouped else joined((queries, keys, keys))
    return ShardLayout(
        layers=_layers(config, shard),
        vocabulary=part(config.vocab_size, shares(config.vocab_size, shard.tp_size), shard.tp_rank),
        query_heads=query_heads,
        kv_heads=kv_heads,
        queries=queries,
        keys=keys,
        qkv=qkv,
        intermediate=_width(config, config.intermediate_size, shard),
        expert=_width(config, 0 if experts is None else experts.intermediate_size, shard),
        shared_expert=_width(config, (experts and experts.shared_intermediate_size) or 0, shard),
    )


def shard_config(config: DecoderConfig, layout: ShardLayout) -> DecoderConfig:
    """Of the part that `layout` describes, as if it were a model. The vocabulary stays: logits are put together."""
    layers, slopes = layout.layers, config.attention.alibi_slopes
    attention = replace(
        config.attention,
        windows=config.attention.windows[layers.start : layers.stop],
        alibi_slopes=None if slopes is None else tuple(slopes[head] for head in layout.query_heads.indices),
    )
    return replace(
        config,
        intermediate_size=layout.intermediate.length,
        num_layers=len(layers),
        num_heads=layout.query_heads.length,
        num_kv_heads=layout.kv_heads.length,
        attention=attention,
        ropes=config.ropes[layers.start : layers.stop],
        experts=None if config.experts is None else _shard_experts(config.experts, layout),
    )


def _layers(config: DecoderConfig, shard: Shard) -> range:
    """Stages of about equal time. The last one has fewer layers: the output projection is as long as some of them."""
    num_layers, num_others = config.num_layers, shard.num_stages - 1
    if num_others == 0:
        return range(num_layers)
    of_head = config.vocab_size * config.hidden_size / _numbers_of_layer(config)
    num_last = round((num_layers + of_head) / shard.num_stages - of_head)
    num_last = min(max(num_last, 1), num_layers - num_others)
    if shard.is_last_stage:
        return range(num_layers - num_last, num_layers)
    return range(*shares(num_layers - num_last, num_others)[shard.stage])


def _numbers_of_layer(config: DecoderConfig) -> int:
    """About how many weights a token is multiplied with in a layer."""
    experts, width = config.experts, config.intermediate_size
    if experts is not None:
        width = experts.num_chosen * experts.intermediate_size + (experts.shared_intermediate_size or 0)
    attended = config.num_heads * config.head_dim
    return config.hidden_size * (config.qkv_size + attended + (3 if config.is_gated else 2) * width)


def _heads(config: DecoderConfig, shard: Shard) -> tuple[Cut, Cut]:
    """Query heads and key heads of a shard: whole groups, or where there are too few of them, a part of one group."""
    num_heads, num_kv_heads, tp_size = config.num_heads, config.num_kv_heads, shard.tp_size
    num_queries = num_heads // num_kv_heads
    if tp_size <= num_kv_heads:
        groups = shares(num_kv_heads, tp_size)
        queries = [(first * num_queries, last * num_queries) for first, last in groups]
    else:
        groups, queries = [], []
        for group, (first_rank, last_rank) in enumerate(shares(tp_size, num_kv_heads)):
            for begin, end in shares(num_queries, last_rank - first_rank):
                groups.append((group, group + 1))
                queries.append((group * num_queries + begin, group * num_queries + end))
    return part(num_heads, queries, shard.tp_rank), part(num_kv_heads, groups, shard.tp_rank)


def _by_key_head(config: DecoderConfig, query_heads: Cut, kv_heads: Cut) -> Cut:
    """Outputs of a fused projection that goes by key head: its queries, its key, its value."""
    num_queries = config.num_heads // config.num_kv_heads
    [(begin, end)] = query_heads.runs
    groups = [Cut(num_queries + 2, ())] * config.num_kv_heads
    for group in kv_heads.indices:
        first = group * num_queries
        queries = (max(begin - first, 0), min(end - first, num_queries))
        groups[group] = joined((Cut(num_queries, (queries,)), whole(2)))
    return joined(groups).times(config.head_dim)


def _width(config: DecoderConfig, size: int, shard: Shard) -> Cut:
    """Of `size` numbers: parts of whole groups, where each shard gets one."""
    stored = config.stored_format
    grains = (_GRAIN if stored is None or stored.group_size is None else stored.group_size, _GRAIN, 1)
    grain = next((grain for grain in grains if -(-size // grain) >= shard.tp_size), 1)
    return part(size, shares(size, shard.tp_size, grain), shard.tp_rank)


def _shard_experts(experts: ExpertsConfig, layout: ShardLayout) -> ExpertsConfig:
    return replace(
        experts,
        intermediate_size=layout.expert.length,
        shared_intermediate_size=None if experts.shared_intermediate_size is None else layout.shared_expert.length,
        dense_layers=frozenset(index - layout.layers.start for index in experts.dense_layers if index in layout.layers),
    )
