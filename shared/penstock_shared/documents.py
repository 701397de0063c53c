"""JSON files that an operator may edit: checked as a whole, with one line for what is wrong first."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

DocumentT = TypeVar("DocumentT", bound=BaseModel)
_MAX_SHOWN_CHARS = 80


def parse_document(document_class: type[DocumentT], content: bytes) -> DocumentT:
    """The document that `content` holds.

    Raises:
        ValueError: it is none; the message names the first wrong field, its value and what is allowed.
    """
    try:
        return document_class.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(_describe(error)) from None


def describe_unreadable(error: OSError | ValueError) -> str:
    """Why a file could not be read or parsed, without its name."""
    return str((isinstance(error, OSError) and error.strerror) or error)


def _describe(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(step) for step in problem["loc"])
    value = problem["input"]
    if problem["type"] == "missing" or isinstance(value, dict | list) or not where:
        shown = ""
    else:
        shown = f"got {repr(value)[:_MAX_SHOWN_CHARS]}; "
    return f"{where or 'the file'}: {shown}{problem['msg']}"
