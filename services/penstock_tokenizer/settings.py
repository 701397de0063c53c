"""What the tokenizer service can be told, by environment variables that begin with PENSTOCK_TOKENIZER_."""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from penstock_shared.settings import ServiceSettings


class TokenizerSettings(ServiceSettings):
    """Settings of the tokenizer service.

    Attributes:
        bind: host:port to listen on; port 0 lets the system choose.
        models: tokenizer directories by model name, besides those of the fleet.
        fleet_address: where the directory of models comes from; None: only `models` are served.
        num_threads: how many calls are encoded at once.
        max_pending: how many calls may run or wait.
        num_render_processes: how many chats are rendered at once.
        render_timeout_s, render_memory_bytes, max_prompt_chars: bounds of one rendering.
        max_texts, max_text_bytes, max_token_ids, max_messages: bounds of one request.
        max_open_outputs: bound of one Detokenize stream.
    """

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_TOKENIZER_")

    bind: str = Field("127.0.0.1:50053", pattern=r"^.+:\d+$")
    models: dict[str, Path] = Field(default_factory=dict)
    fleet_address: str | None = Field(None, pattern=r"^.+:\d+$")
    num_threads: int = Field(default_factory=lambda: min(8, os.cpu_count() or 1), ge=1, le=256)
    max_pending: int = Field(512, ge=1)
    num_render_processes: int = Field(2, ge=1, le=64)
    render_timeout_s: float = Field(2.0, gt=0, le=60)
    render_memory_bytes: int = Field(512 * 1024 * 1024, ge=128 * 1024 * 1024)
    max_prompt_chars: int = Field(4 * 1024 * 1024, ge=1)
    max_texts: int = Field(256, ge=1)
    max_text_bytes: int = Field(4 * 1024 * 1024, ge=1)
    max_token_ids: int = Field(1024 * 1024, ge=1)
    max_messages: int = Field(2048, ge=1)
    max_open_outputs: int = Field(1024, ge=1)
