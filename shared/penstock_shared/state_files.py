"""What a state directory's files of common interest are called."""

from typing import Final

KEYS_FILE_NAME: Final = "keys.json"
TENANTS_FILE_NAME: Final = "tenants.json"
AUDIT_FILE_NAME: Final = "audit.log"
