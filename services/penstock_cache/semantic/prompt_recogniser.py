"""Prompts whose answer belongs to a moment or to a person: it must not be given to the next who asks alike.

Told by words and forms, in English; German, French and Spanish by their commonest words. What it misses is left to
verifier and decider; what it takes for such by mistake costs a hit and never a wrong answer.
"""

import enum
import re

from penstock_cache.semantic.moment import depends_on_moment


class Bond(enum.Enum):
    """What an answer is bound to."""

    TIME = "time"
    PERSON = "person"


_OWNED = (
    r"(?:\w+ ){0,2}"
    r"(?:name|age|birthday|address|e-?mail|mail|inbox|phone number|password|pin|account|balance|orders?|parcel|package"
    r"|delivery|booking|reservation|flight|appointments?|meetings?|calendar|schedule|salary|payslip|invoices?|bills?"
    r"|results?|diagnosis|location|grades?|score|data usage|usage|credits?|points|messages?|files?|photos?|documents?)"
)
_PERSON = re.compile(
    r"\b(?:"
    rf"(?:what|when|where|who|which|how much|how many)(?:'s)?\b[^.?!]{{0,30}}\bmy {_OWNED}"
    rf"|(?:show|read|list|check|track|find|open|summari[sz]e|tell)(?: me)? my {_OWNED}"
    r"|who am i|where am i|how old am i|my name is|call me [A-Z]\w+|i am called"
    r"|do you (?:remember|know) me|(?:as )?i (?:told|mentioned to|said to) you|did i (?:tell|say|ask|order|pay|book)"
    r"|how (?:much|many)\b[^.?!]{0,60}\bdo i (?:still )?have left|have i (?:paid|ordered|booked|used|got)"
    r"|do i (?:still )?owe|what did i|mein name ist|je m'appelle|me llamo"
    r")\b",
    re.IGNORECASE,
)
# A person's data: mail address, card, account or phone number, IBAN.
_DATA = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,64}\.\w|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,8}\b|(?<![\d.,])\d(?:[ -]?\d){8,24}(?![\d.,]\d)",
)


def bond_of(prompt: str) -> Bond | None:
    """What the answer to a prompt is bound to, as far as its words tell."""
    if _PERSON.search(prompt) or _DATA.search(prompt):
        return Bond.PERSON
    return Bond.TIME if depends_on_moment(prompt) else None
