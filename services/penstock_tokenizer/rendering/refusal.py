"""What a render process answers where it has no text."""

import enum


class Refusal(enum.StrEnum):
    """Why a template was not rendered."""

    RAISED = "raised"
    """The template refused its input with `raise_exception`."""
    INPUT = "input"
    """The template failed on this input."""
    TEMPLATE = "template"
    """The template is not valid, or does what the sandbox forbids."""
    BOUNDS = "bounds"
    """Output, memory, recursion or a range went over its bound."""
