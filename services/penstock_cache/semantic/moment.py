"""Prompts whose answer is another one tomorrow, told by words and forms; see `prompt_recogniser.py`."""

import re

_SPANS = r"(?:morning|afternoon|evening|night|week|weekend|month|quarter|year|season)"
# What is asked for changes by itself.
_CHANGING = re.compile(
    r"\b(?:"
    r"\d+ (?:minutes|hours|days|weeks|months|years) ago|(?:days|weeks|months) (?:until|till|left)"
    r"|(?:latest|newest|breaking|recent) (?:news|version|release|update|score|price|figures?|results?|model|episode)"
    r"|what(?:'s| is) (?:the )?(?:time|date|day) (?:now|in)\b"
    r"|what(?:'s| is) the (?:time|date)\s*(?:[?.!]|$)"
    r"|(?:what|which) (?:day|month|year) is it"
    r"|current (?:time|date|day|month|year|weather|temperature|price|value|rate|score|president|prime minister"
    r"|version|news|status|ceo|champion)"
    r"|(?:stock|share|bitcoin|gas|oil|gold) price|exchange rate|live score"
    r"|weather (?:\w+ )?(?:in|at|for|like)|weather forecast"
    r")\b",
    re.IGNORECASE,
)
_NOW = re.compile(
    r"\b(?:right now|at (?:the|this) moment|as of today|currently|nowadays"
    r"|aktuelle[rsn]?|gerade jetzt|en ce moment|ahora mismo)\b",
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
# How something is done is the same tomorrow, whatever brought the question up.
_HOW = re.compile(
    r"\b(?:how (?:do|can|could) (?:i|we|one)\b(?! (?:currently )?(?:stand|look|compare|rank|feel)\b)"
    r"|how to|what to do|what now(?=\W*$)|what do you need"
    r"|what (?:do|can|must) (?:i|we|one) (?:do|type|enter|run|say|need|press|call|use)"
    r"|which (?:command|request|call|endpoint|query|option|setting|menu|button|key|form)"
    r"|(?:command|shortcut|procedure)(?=\W*$))\b",
    re.IGNORECASE,
)
# Where a stone is kept today is where it was kept last year.
_STANDING = re.compile(
    r"\b(?:is|are)\b[^.?!,]{0,60}\b(?:kept|located|housed|displayed|situated|called|named|spoken) (?:today|nowadays)\b"
    r"|\bcurrently (?:houses?|kept|located|housed|displayed|situated|called|named|spoken)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[^.?!;,\n]+[.?!;,\n]*")
_SHORT_WORDS = 3
_ASKING = re.compile(
    r"\W*(?:(?:and|but|so|or|please|then|also)\W+)?"
    r"(?:what|who|whom|whose|when|where|which|why|how|what's|who's|where's|is|are|was|were|do|does|did|will|would|can"
    r"|could|should|has|have|any|tell|show|list|give|name|find|check|get|summari[sz]e)\b",
    re.IGNORECASE,
)
_ORDER = re.compile(
    r"\W*(?:please )?(?:report|collect|register|enrol|enroll|cancel|postpone|reschedule|write|draft|compose|rephrase"
    r"|rewrite|translate|correct|apologi[sz]e)\b",
    re.IGNORECASE,
)


def depends_on_moment(prompt: str) -> bool:
    """Whether the answer belongs to the moment at which a prompt is asked, as far as its words tell."""
    prompt = _QUOTED.sub(" ", prompt)
    if _CHANGING.search(prompt):
        return True
    if _CLOCK.search(prompt):
        return not _SUPPOSED.search(prompt)
    prompt = _STANDING.sub(" ", prompt)
    if _HOW.search(prompt):
        return False
    if _NOW.search(prompt):
        return True
    return not _TELLER.search(prompt) and any(_DEICTIC.search(clause) for clause in _asking_clauses(prompt))


def _asking_clauses(prompt: str) -> list[str]:
    """The clauses that ask; where none does all of them, unless the prompt is an order."""
    clauses: list[str] = []
    begun = ""
    for clause in _CLAUSE.findall(prompt):
        begun += clause
        if len(begun.split()) > _SHORT_WORDS or "?" in clause:  # "Tonight in Rome, what is on?" is one
            clauses.append(begun)
            begun = ""
    clauses += [begun] if begun else []
    asking = [clause for clause in clauses if "?" in clause or _ASKING.match(clause)]
    return asking or ([] if _ORDER.match(prompt) else clauses)
