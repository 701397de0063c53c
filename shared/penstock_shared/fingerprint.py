"""Fingerprints of a checkpoint's text side: equal fingerprints encode equally."""

import hashlib
import json
from pathlib import Path

_TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
_TEMPLATE_FILE = "chat_template.jinja"
_CONFIG_FILE = "tokenizer_config.json"


def tokenizer_fingerprint(directory: Path) -> str:
    """SHA-256 over the names and contents of the files that turn text into token ids; without the chat template."""
    digest = hashlib.sha256()
    for name in _TOKENIZER_FILES:
        path = directory / name
        if path.is_file():
            _add(digest, name, path.read_bytes())
    config = _read_config(directory)
    config.pop("chat_template", None)
    _add(digest, _CONFIG_FILE, json.dumps(config, sort_keys=True).encode())
    return digest.hexdigest()


def template_fingerprint(directory: Path) -> str:
    """SHA-256 of the chat template; empty where the checkpoint has none."""
    path = directory / _TEMPLATE_FILE
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    template = _read_config(directory).get("chat_template")
    if not template:
        return ""
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _add(digest: "hashlib._Hash", name: str, content: bytes) -> None:
    digest.update(f"{name}\0{len(content)}\0".encode())
    digest.update(content)


def _read_config(directory: Path) -> dict[str, object]:
    path = directory / _CONFIG_FILE
    if not path.is_file():
        return {}
    config = json.loads(path.read_bytes())
    return config if isinstance(config, dict) else {}
