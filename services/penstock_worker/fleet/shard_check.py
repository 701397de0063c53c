"""Whether a model can be cut into the parts that are wanted, before any process is started for it."""

from penstock_worker.fleet.spec import WantedModel
from penstock_worker.models.registry import read_any_config
from penstock_worker.models.split_check import check_split


def check_shards(model: WantedModel) -> None:
    """Raises `InvalidArgumentError` where it cannot; says into how many parts it can."""
    _, config = read_any_config(model.model_dir)
    check_split(config, tensor_parallel=model.tensor_parallel, pipeline_parallel=model.pipeline_parallel)
