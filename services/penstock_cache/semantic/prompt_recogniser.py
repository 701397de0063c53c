"""Prompts whose answer belongs to a moment or to a person: it must not be given to the next who asks alike.

Told by words and forms, in English; German, French and Spanish by their commonest words. What it misses is left to
verifier and decider; what it takes for such by mistake costs a hit and never a wrong answer.
"""

import enum
import re


class Bond(enum.Enum):
    """What an answer is bound to."""

    TIME = "time"
    PERSON = "person"


_SPANS = r"(?:morning|afternoon|evening|night|week|weekend|month|quarter|year|season)"
# Said of what is asked for.
_TIME = re.compile(
    r"\b(?:"
    r"right now|at (?:the|this) moment|as of today|currently|nowadays"
    r"|\d+ (?:minutes|hours|days|weeks|months|years) ago|(?:days|weeks|months) (?:until|till|left)"
    r"|(?:latest|newest|breaking|recent) (?:news|version|release|update|score|price|figures?|results?|model|episode)"
    r"|what(?:'s| is) (?:the )?(?:time|date|day) (?:now|in)\b"
    r"|what(?:'s| is) the (?:time|date)\s*(?:[?.!]|$)"
    r"|(?:what|which) (?:day|month|year) is it"
    r"|current (?:time|date|day|month|year|weather|temperature|price|value|rate|score|president|prime minister"
    r"|version|news|status|ceo|champion)"
    r"|(?:stock|share|bitcoin|gas|oil|gold) price|exchange rate|live score"
    r"|weather (?:\w+ )?(?:in|at|for|like)|weather forecast"
    r"|aktuelle[rsn]?|gerade jetzt|en ce moment|ahora mismo"
    r")\b",
    re.IGNORECASE,
)
# "What is on tonight?" asks of today; "I lost it yesterday, what now?" tells of it, and the answer holds tomorrow too.
_DEICTIC = re.compile(
    r"\b(?:(?:who|what|where|which) (?:is|are)\b[^.?!]{0,60}\bnow(?=\W*$)"
    rf"|today|tonight|tomorrow|yesterday|(?:this|last|next|coming) {_SPANS}"
    r"|heute|gestern|aujourd'hui|hier soir|demain|hoy|ayer)\b",
    re.IGNORECASE,
)
_TELLER = re.compile(r"\b(?:i|i'm|i've|i'd|i'll|we|we're|we've|ich|wir|je|nous)\b", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')  # what is to be worked on, and not what is asked
_CLOCK = re.compile(r"\bwhat time is it\b", re.IGNORECASE)
_SUPPOSED = re.compile(r"\b(?:when|if) it(?:'s| is)\b", re.IGNORECASE)
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
    return Bond.TIME if _depends_on_time(prompt) else None


def _depends_on_time(prompt: str) -> bool:
    prompt = _QUOTED.sub(" ", prompt)
    if _TIME.search(prompt):
        return True
    if _CLOCK.search(prompt):
        return not _SUPPOSED.search(prompt)
    return bool(_DEICTIC.search(prompt)) and not _TELLER.search(prompt)
