"""Which tenant an API key belongs to, by the key file as it is now."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from penstock_shared.api_keys import ApiKey, KeyStatus, find_key
from penstock_shared.errors import UnauthenticatedError
from penstock_shared.principal import AuthMethod, Principal
from penstock_shared.watched_file import WatchedFile


class KeyRing:
    """Checks API keys.

    Args:
        file: of the keys, by id.
        wall_clock: seconds since the epoch.
    """

    def __init__(self, file: WatchedFile[Mapping[str, ApiKey]], *, wall_clock: Callable[[], float]) -> None:
        self._file = file
        self._wall_clock = wall_clock

    @property
    def is_configured(self) -> bool:
        """Whether there is a key file, or has been since the start: losing it must not open the door."""
        return self._file.current() is not None

    def principal_of(self, text: str) -> Principal:
        """Whose key `text` is.

        Raises:
            UnauthenticatedError: it is no key, or one that holds no longer.
        """
        key = find_key(text, self._file.current() or {}) or self._find_new(text)
        if key is None:
            # The same for an unknown id and for a wrong secret: neither tells a stranger which ids exist.
            raise UnauthenticatedError("the API key is not valid")
        status = key.status(self._wall_clock())
        if status is KeyStatus.REVOKED:
            raise UnauthenticatedError(f"the API key {key.key_id} is revoked")
        if status is KeyStatus.EXPIRED:
            ended = datetime.fromtimestamp(key.expires_s or 0, UTC)
            raise UnauthenticatedError(f"the API key {key.key_id} expired at {ended:%Y-%m-%dT%H:%M:%SZ}")
        return Principal(key.tenant, AuthMethod.API_KEY, key.key_id)

    def _find_new(self, text: str) -> ApiKey | None:
        """A key that was made less than a second ago."""
        return find_key(text, self._file.refresh() or {})
