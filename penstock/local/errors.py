"""What can go wrong with a local stack."""


class LocalError(Exception):
    """One clear line for the operator, with the way out."""


class NotRunningError(LocalError):
    """Nothing runs from this state directory."""
