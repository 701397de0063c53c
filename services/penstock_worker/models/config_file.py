"""Typed access to a checkpoint's config.json. A wrong value is refused with the field's name and what is allowed."""

import json
import sys
from pathlib import Path
from typing import Any

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.unreadable import unreadable

_MAX_FILE_BYTES = 16 * 1024 * 1024
# Beyond these no checkpoint goes. Lists are made as long as these say before any tensor shows that it cannot be true.
_LARGEST_INTEGER = 2**31 - 1
_LARGEST_NUMBER = sys.float_info.max
_LARGEST = dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers"), 1024)
_LARGEST |= dict.fromkeys(("num_experts", "num_local_experts"), 4096)
_LARGEST |= dict.fromkeys(("num_attention_heads", "num_key_value_heads", "num_kv_heads", "n_head", "n_heads"), 4096)


def read_json_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file of a checkpoint directory.

    Raises:
        InvalidArgumentError: it is not there, too large, or no JSON object.
        UnavailableError: it cannot be read now.
    """
    allowed = "a JSON object in a file of at most 16 MiB"
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidArgumentError(str(path), "a larger file", allowed)
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error, allowed) from None
    except (ValueError, RecursionError):
        raise InvalidArgumentError(str(path), "no JSON", allowed) from None
    if not isinstance(content, dict):
        raise InvalidArgumentError(str(path), type(content).__name__, allowed)
    return content


class ConfigFile:
    """The fields of a config.json, or of an object inside it. A field that is null counts as absent.

    Args:
        fields: the parsed object.
        name: names it in errors.
    """

    def __init__(self, fields: dict[str, Any], name: str = "config.json") -> None:
        self._fields = fields
        self._name = name

    def has(self, field: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(field) is not None

    def positive_integer(self, field: str, default: int | None = None) -> int:
        """A size. Without a default the field is required."""
        return self._integer(field, default, 1)

    def count(self, field: str, default: int | None = None) -> int:
        """A number of things, perhaps 0. Without a default the field is required."""
        return self._integer(field, default, 0)

    def positive_number(self, field: str, default: float | None = None) -> float:
        """A finite number above 0. Without a default the field is required."""
        value = self._value(field, default)
        if not _is_positive(value):
            raise self.refused(field, "a number above 0")
        return float(value)

    def number(self, field: str, default: float) -> float:
        """A finite number from 0 on."""
        value = self._value(field, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST_NUMBER:
            raise self.refused(field, "a number from 0 on")
        return float(value)

    def flag(self, field: str, default: bool) -> bool:
        """True or false."""
        value = self._value(field, default)
        if not isinstance(value, bool):
            raise self.refused(field, "true or false")
        return value

    def positive_numbers(self, field: str) -> list[float]:
        """A list of finite numbers above 0. The field is required."""
        value = self._value(field, None)
        if not isinstance(value, list) or not all(_is_positive(item) for item in value):
            raise self.refused(field, "a list of numbers above 0")
        return [float(item) for item in value]

    def counts(self, field: str) -> list[int]:
        """A list of integers from 0 on; empty where absent."""
        value = self._value(field, [])
        if not isinstance(value, list) or not all(type(item) is int and item >= 0 for item in value):
            raise self.refused(field, "a list of integers from 0 on")
        return value

    def text(self, field: str, default: str) -> str:
        """A string."""
        value = self._value(field, default)
        if not isinstance(value, str):
            raise self.refused(field, "a string")
        return value

    def strings(self, field: str) -> list[str]:
        """A list of strings; empty where absent."""
        value = self._value(field, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.refused(field, "a list of strings")
        return value

    def string_values(self, field: str) -> set[str]:
        """The values of an object whose values are strings. The field is required."""
        value = self._value(field, None)
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self.refused(field, "an object of strings")
        return set(value.values())

    def section(self, field: str) -> "ConfigFile":
        """An object inside this one; empty where absent."""
        value = self._value(field, {})
        if not isinstance(value, dict):
            raise self.refused(field, "an object")
        return ConfigFile(value, f"{self._name} {field}")

    def sections(self, field: str) -> list["ConfigFile"]:
        """The objects inside an object inside this one. The field is required."""
        value = self._value(field, None)
        if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
            raise self.refused(field, "an object of objects")
        return [ConfigFile(item, f"{self._name} {field} {name}") for name, item in value.items()]

    def with_defaults(self, defaults: dict[str, Any]) -> "ConfigFile":
        """The same object, in which absent fields have these values."""
        return ConfigFile(defaults | self._fields, self._name)

    def optional_positive_integer(self, field: str, default: int) -> int | None:
        """A count that an explicit null switches off."""
        if field in self._fields and self._fields[field] is None:
            return None
        return self.positive_integer(field, default)

    def optional_positive_number(self, field: str, default: float | None) -> float | None:
        """A number that an explicit null switches off, and so does a default of None where the field is absent."""
        if default is None or (field in self._fields and self._fields[field] is None):
            return self.positive_number(field) if self.has(field) else None
        return self.positive_number(field, default)

    def choice(self, field: str, allowed: list[str]) -> str:
        """One of the allowed strings, of which the first is the default."""
        value = self._value(field, allowed[0])
        if value not in allowed:
            raise self.refused(field, " or ".join(allowed))
        return str(value)

    def require(self, field: str) -> None:
        """Refuses an object without the field."""
        if not self.has(field):
            raise self.refused(field, "a value")

    def is_exactly(self, field: str, value: object) -> bool:
        """Whether the field holds this value."""
        return bool(self._value(field, None) == value)

    def require_absent_or(self, field: str, only: object) -> None:
        """Refuses a field that asks for something else than the one value supported."""
        if self._value(field, only) != only:
            raise self.refused(field, str(only))

    def refused(self, field: str, allowed: str) -> InvalidArgumentError:
        """The error to raise for `field`."""
        return InvalidArgumentError(f"{self._name} {field}", self._fields.get(field), allowed)

    def _integer(self, field: str, default: int | None, minimum: int) -> int:
        value = self._value(field, default)
        largest = _LARGEST.get(field, _LARGEST_INTEGER)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= largest:
            raise self.refused(field, f"an integer from {minimum} to {largest}")
        return value

    def _value(self, field: str, default: Any) -> Any:
        value = self._fields.get(field)
        return default if value is None else value


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LARGEST_NUMBER
