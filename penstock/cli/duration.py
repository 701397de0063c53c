"""Times as they are written on the command line."""

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Seconds of `250ms`, `30s`, `2m`, `1h`, `30d`, or a bare number of seconds.

    Raises:
        ValueError: it is none, or not above 0; the message says what is allowed.
    """
    number = text.rstrip("msdh")
    try:
        duration_s = float(number) * _UNITS_S[text[len(number) :] or "s"]
    except (KeyError, ValueError):
        duration_s = 0.0
    if not 0 < duration_s < float("inf"):
        raise ValueError(f"got {text!r}; allowed: a time above 0 like 250ms, 30s, 2m, 1h or 30d")
    return duration_s
