"""What is wanted of the fleet: models, how many replicas of each, and what these are like."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.settings import MODEL_NAME

_MAX_REPLICAS = 1024
_MAX_MODELS = 64
_DEFAULT_CEILING = 4


def _check_absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("an absolute path")
    return path


_AbsolutePath = Annotated[Path, AfterValidator(_check_absolute)]
_Count = Annotated[int, Field(ge=0, le=_MAX_REPLICAS)]
_PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ReplicaShape(_Value):
    """What all replicas of a model are alike in; another shape needs other replicas.

    Attributes:
        threads: CPU threads, shared by the processes of a replica; None: as the fleet's settings say.
    """

    model_dir: _AbsolutePath
    tensor_parallel: int = Field(1, ge=1, le=64)
    pipeline_parallel: int = Field(1, ge=1, le=64)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantize: Literal["none", "int8", "int4"] = "none"
    threads: int | None = Field(None, ge=1)


class Autoscale(_Value):
    """How the number of replicas follows the load; see `fleet.v1.Autoscale`."""

    target_sequences: int = Field(16, ge=1)
    target_queued_tokens: int = Field(4096, ge=1)
    target_wait_s: _PositiveSeconds = 2.0
    up_window_s: _PositiveSeconds = 3.0
    down_window_s: _PositiveSeconds = 60.0
    idle_window_s: _PositiveSeconds = 300.0


class WantedModel(ReplicaShape):
    """A model that is wanted; see `fleet.v1.WantedModel`.

    Attributes:
        adapters: directories by name.
        autoscale: None: only operators change the number of replicas.
    """

    name: str = Field(pattern=MODEL_NAME)
    replicas: _Count
    min_replicas: _Count
    max_replicas: _Count
    adapters: Mapping[str, _AbsolutePath] = Field(default_factory=dict)
    autoscale: Autoscale | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_counts(cls, given: Any) -> Any:
        """Those that are not given. Operators may choose any number, unless they said which; the load may not."""
        if not isinstance(given, Mapping):
            return given
        is_autoscaled = given.get("autoscale") is not None
        replicas = given.get("replicas", given.get("min_replicas", 1))
        ceiling = max(replicas, _DEFAULT_CEILING) if isinstance(replicas, int) else _DEFAULT_CEILING
        filled = {
            "replicas": replicas,
            "min_replicas": 1 if is_autoscaled else 0,
            "max_replicas": ceiling if is_autoscaled else _MAX_REPLICAS,
        }
        return filled | dict(given)

    @model_validator(mode="after")
    def _check_counts(self) -> "WantedModel":
        if not self.min_replicas <= self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}")
        if not self.min_replicas <= self.replicas <= self.max_replicas:
            raise ValueError(
                f"replicas {self.replicas} is not within min_replicas {self.min_replicas} and "
                f"max_replicas {self.max_replicas}"
            )
        return self

    @property
    def shape(self) -> ReplicaShape:
        """What its replicas are like."""
        return ReplicaShape(**{name: getattr(self, name) for name in ReplicaShape.model_fields})


class FleetSpec(_Value):
    """All that is wanted; no two models of one name."""

    models: tuple[WantedModel, ...] = Field((), max_length=_MAX_MODELS)

    @model_validator(mode="after")
    def _check_names(self) -> "FleetSpec":
        names = [model.name for model in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two models are called {twice[0]}")
        return self

    def get(self, name: str) -> WantedModel | None:
        """The model of that name."""
        return next((model for model in self.models if model.name == name), None)

    def replacing(self, changed: WantedModel) -> "FleetSpec":
        """The same with another version of one model."""
        return FleetSpec(models=tuple(changed if each.name == changed.name else each for each in self.models))


def parse_spec(given: Mapping[str, Any]) -> FleetSpec:
    """A specification from plain values.

    Raises:
        InvalidArgumentError: a field is missing, unknown, or out of its range; says which.
    """
    try:
        return FleetSpec.model_validate(given)
    except ValidationError as error:
        raise _as_ours(error) from None


def changed_model(model: WantedModel, **changes: Any) -> WantedModel:
    """The same model with some fields changed.

    Raises:
        InvalidArgumentError: a field is out of its range; says which.
    """
    try:
        return WantedModel.model_validate(model.model_dump() | changes)
    except ValidationError as error:
        raise _as_ours(error) from None


def _as_ours(error: ValidationError) -> InvalidArgumentError:
    """The first problem: field, value, and what is allowed."""
    problem = error.errors()[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "missing":
        return InvalidArgumentError(field, "nothing", "a value")
    if problem["type"] == "extra_forbidden":
        return InvalidArgumentError(field, problem["input"], "no such field")
    value = problem["input"] if not isinstance(problem["input"], Mapping) else "these values"
    allowed = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return InvalidArgumentError(field or "spec", value, allowed)
