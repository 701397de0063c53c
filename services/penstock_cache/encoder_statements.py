"""What is asked of the database about the encoder for whose vectors prompts are encoded anew.

Instances with different encoders over one database would undo each other's work for ever.
"""

from penstock_cache.connection import Connection


def claim(connection: Connection, encoder_fingerprint: str) -> None:
    """From now on it is this one."""
    connection.execute("DELETE FROM present_encoder")
    connection.execute("INSERT INTO present_encoder VALUES (?)", (encoder_fingerprint,))


def is_present(connection: Connection, encoder_fingerprint: str) -> bool:
    """Whether it is this one; where nobody has claimed it, it is anybody's."""
    row = connection.execute("SELECT fingerprint FROM present_encoder").fetchone()
    return row is None or bool(row[0] == encoder_fingerprint)
