"""The files of a Hugging Face tokenizer directory, read and checked; nothing in them is executed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock_shared.errors import FailedPreconditionError

_TOKENIZER_FILE = "tokenizer.json"
_CONFIG_FILE = "tokenizer_config.json"
_SPECIAL_TOKENS_FILE = "special_tokens_map.json"
_TEMPLATE_FILE = "chat_template.jinja"
_DEFAULT_TEMPLATE = "default"
_TOOL_TEMPLATE = "tool_use"

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A checkpoint's chat template.

    Attributes:
        sources: Jinja source by name; most checkpoints have only "default".
        variables: what every rendering sees: the special tokens by name (`bos_token`, ...).
    """

    sources: Mapping[str, str]
    variables: Mapping[str, Any] = field(default_factory=dict)

    def source(self, *, has_tools: bool) -> str:
        """The source for a conversation with or without tools."""
        if has_tools and _TOOL_TEMPLATE in self.sources:
            return self.sources[_TOOL_TEMPLATE]
        if _DEFAULT_TEMPLATE not in self.sources:
            names = ", ".join(sorted(self.sources))
            raise FailedPreconditionError(f"the model has no default chat template, only: {names}")
        return self.sources[_DEFAULT_TEMPLATE]

    @property
    def text(self) -> str:
        """All sources together, for looking up what they write."""
        return "\n".join(self.sources.values())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The text side of a checkpoint.

    Attributes:
        document: tokenizer.json.
        special_tokens: special tokens by their name in the configuration.
        template: None where the checkpoint has none.
    """

    document: JsonObject
    special_tokens: Mapping[str, str | list[str]]
    template: ChatTemplate | None


def read_checkpoint(directory: Path) -> Checkpoint:
    """Reads a tokenizer directory.

    Raises:
        FailedPreconditionError: a file is missing, unreadable or not what it should be.
    """
    path = directory / _TOKENIZER_FILE
    if not path.is_file():
        raise FailedPreconditionError(
            f"{directory} has no {_TOKENIZER_FILE}; make one with transformers: "
            f"AutoTokenizer.from_pretrained({str(directory)!r}).save_pretrained({str(directory)!r})"
        )
    config = _read_object(directory / _CONFIG_FILE)
    special_tokens = _special_tokens(_read_object(directory / _SPECIAL_TOKENS_FILE) | config)
    sources = _template_sources(directory, config)
    template = ChatTemplate(sources, special_tokens) if sources else None
    return Checkpoint(_complete(_read_object(path), config), special_tokens, template)


def _read_object(path: Path) -> JsonObject:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FailedPreconditionError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise FailedPreconditionError(f"{path} holds no JSON object")
    return content


def _complete(document: JsonObject, config: JsonObject) -> JsonObject:
    """Adds the tokens that only the configuration lists, and drops truncation and padding: callers bound lengths."""
    listed = document.get("added_tokens") or []
    known = {token["content"] for token in listed}
    declared: JsonObject = config.get("added_tokens_decoder") or {}
    missing = [
        {"id": int(token_id), "single_word": False, "lstrip": False, "rstrip": False, "normalized": False} | token
        for token_id, token in declared.items()
        if token["content"] not in known
    ]
    tokens = sorted([*listed, *missing], key=lambda token: int(token["id"]))
    return document | {"added_tokens": tokens, "truncation": None, "padding": None}


def _special_tokens(config: JsonObject) -> dict[str, str | list[str]]:
    """`bos_token` and its like; a token stands there as text or as an object with its text under `content`."""
    found: dict[str, str | list[str]] = {}
    for name, value in config.items():
        if name.endswith("_token") and (text := _token_text(value)) is not None:
            found[name] = text
        if name in ("additional_special_tokens", "extra_special_tokens") and isinstance(value, list):
            found[name] = [text for item in value if (text := _token_text(item)) is not None]
    return found


def _token_text(value: object) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _template_sources(directory: Path, config: JsonObject) -> dict[str, str]:
    path = directory / _TEMPLATE_FILE
    if path.is_file():
        return {_DEFAULT_TEMPLATE: path.read_text(encoding="utf-8")}
    template = config.get("chat_template")
    if isinstance(template, str):
        return {_DEFAULT_TEMPLATE: template}
    return {item["name"]: item["template"] for item in template or []}
