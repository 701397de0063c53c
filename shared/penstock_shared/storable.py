"""Text that every database can hold."""

from penstock_shared.errors import InvalidArgumentError


def check_storable(field: str, text: str) -> None:
    """Raises `InvalidArgumentError` where a text holds a NUL character: valid UTF-8, for which Postgres has no room."""
    if "\0" in text:
        raise InvalidArgumentError(field, text, "text without NUL characters")
