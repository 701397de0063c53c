"""Limits that both ends of a call agree on."""

from typing import Final

# A prompt of a million tokens as packed ids stays below it; the transport's own default (4 MiB) would not do.
DEFAULT_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
