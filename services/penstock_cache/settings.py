"""What the cache service can be told, by environment variables that begin with PENSTOCK_CACHE_."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from penstock_shared.settings import ServiceSettings

_DAY_S = 24 * 60 * 60


class CacheSettings(ServiceSettings):
    """Settings of the cache service. Its database, `cache.db`, lies in the state directory unless Postgres is named.

    Attributes:
        bind: host:port to listen on; port 0 lets the system choose.
        postgres_url: of the Postgres database, with pgvector, that this instance shares with others.
        max_bytes: what all stored answers may take together; what spares the least goes first.
        default_ttl_s: how long an answer is served whose writer does not say.
        max_ttl_s: the longest that a writer may say.
        num_readers: how many lookups read the database at once.
        max_pending: how many calls may run or wait.
        sweep_interval_s: how often expired answers are removed.
        semantic: whether answers are found by meaning, too; unset: where the extra `semantic` is installed.
        encoder_dir: a Hugging Face encoder, safetensors only; unset: all-MiniLM-L6-v2 of that extra.
        encoder_max_tokens: longer prompts are found exactly only.
        encoder_threads: how many threads encode one batch.
        semantic_budget_s: the longest that a lookup by meaning may take; and never more than four fifths of the
            caller's time, which are 40 ms of a gateway's.
        max_semantic_lookups: how many may be under way.
        exploration_lifetime_s: how long a model's answer may take to be compared with a stored one.
        label_noise: share of comparisons of answers that are supposed to be wrong, in either direction.
    """

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_CACHE_")

    bind: str = Field("127.0.0.1:50052", pattern=r"^.+:\d+$")
    postgres_url: SecretStr | None = None
    max_bytes: int = Field(256 << 20, ge=1 << 16)
    default_ttl_s: float = Field(float(_DAY_S), gt=0)
    max_ttl_s: float = Field(float(90 * _DAY_S), gt=0)
    num_readers: int = Field(2, ge=1, le=64)
    max_pending: int = Field(256, ge=1)
    sweep_interval_s: float = Field(30.0, gt=0)
    semantic: bool | None = None
    encoder_dir: Path | None = None
    encoder_max_tokens: int = Field(256, ge=8, le=8192)
    encoder_threads: int = Field(1, ge=1, le=64)
    semantic_budget_s: float = Field(1.0, gt=0, le=10)
    max_semantic_lookups: int = Field(64, ge=1, le=4096)
    exploration_lifetime_s: float = Field(600.0, gt=0)
    label_noise: float = Field(0.05, ge=0, le=0.25)
