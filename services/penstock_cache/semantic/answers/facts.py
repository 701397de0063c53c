"""What can be read in an answer: numbers, names, negations, what is typed as it stands, and which words go together."""

import re
from dataclasses import dataclass, field

from penstock_cache.semantic.answers.language import language_of
from penstock_cache.semantic.answers.quantities import Quantity, quantities_of
from penstock_cache.semantic.answers.statements import Statements
from penstock_cache.semantic.answers.words import CALENDAR, FUNCTION_WORDS, NEGATIONS, SAME_WORDS
from penstock_cache.semantic.verification.words import stem

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|#\d+#")
_CLAUSE_END = re.compile(r"[,;:()]|\b(?:and|but|whereas|while)\b", re.IGNORECASE)
# What is typed as it stands: paths, flags, names in code, addresses, ids of letters and digits.
_LITERAL = re.compile(r"^--?\w|\w[_/\\=<>@#:.~|+(]+[\w)-]|^[/~$@#.*]\w|[A-Za-z]\d|\d[A-Za-z]|^\d+(?:\.\d+){2,}$")
_NO_LITERAL = re.compile(
    r"(?:[a-z]\.){1,3}[a-z]?|[\d.,:]+(?:[a-z]{1,2}|[%\u20ac]|st|nd|rd|th)|[a-z]+/[a-z]+|\d[\d.,]*-[a-z]+",
    re.IGNORECASE,
)
_SPACED_PLUS = re.compile(r"\s\+\s(?=\w)")
_SHORT = 3
_NO_DENIAL = re.compile(r"\b(?:no|not) (?:longer|more|later|less|fewer|earlier) than\b", re.IGNORECASE)
_HYPHENATED = re.compile(r"(?<=[A-Za-z])-(?=[A-Z])")
_PERSONS = frozenset({"he", "she", "they", "i", "me"})
_PAST = re.compile(r"\b(?:was|were|had|did|has been|have been)\b", re.IGNORECASE)
_PASSIVE = re.compile(r"\b(?:was|were|is|are|been|being)\s+\w+(?:ed|en|wn)\s+by\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Clause:
    """Words that stand together.

    Attributes:
        words: stems of content.
        quantities: numbers among them.
        is_denied: whether it says no.
    """

    words: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    is_denied: bool


@dataclass(slots=True)
class AnswerFacts:
    """What is read.

    Attributes:
        verdict: "yes" or "no", where the answer begins so.
        quantities: numbers with their units, each once.
        num_negations: of all words together.
        names: stems of what looks like a name, each with the word before it.
        literals: what is typed as it stands.
        words: of content, by their stems; each as it is written first.
        clauses: of each sentence.
        code: blocks whose form is their content.
        language: of its prose.
        bearing: of whom it speaks, and whether it asks or is in the passive: what shows roles, tense, mood and form.
    """

    verdict: str
    code: tuple[str, ...]
    quantities: dict[Quantity, None] = field(default_factory=dict)
    num_negations: int = 0
    names: dict[str, str] = field(default_factory=dict)
    literals: set[str] = field(default_factory=set)
    words: dict[str, str] = field(default_factory=dict)
    clauses: list[tuple[Clause, ...]] = field(default_factory=list)
    bearing: set[str] = field(default_factory=set)
    language: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found that could be compared."""
        return not (self.words or self.quantities or self.literals)


def facts_of(statements: Statements) -> AnswerFacts:
    """What is stated, as far as its form tells."""
    facts = AnswerFacts(statements.verdict, statements.code)
    if statements.is_list:
        facts.bearing.add("list")
    for sentence in statements.sentences:
        _read(sentence, facts)
    facts.language = language_of(" ".join(statements.sentences))
    if len(facts.words) <= _SHORT:  # an answer of one name has it at its beginning
        for name, written in facts.words.items():
            if name not in facts.names and any(written.capitalize() in each for each in statements.sentences):
                facts.names[name] = ""
    return facts


def key(word: str) -> str:
    """By what a word is found in the other answer."""
    word = word.lower().removesuffix("'s")
    word = SAME_WORDS.get(word, word)
    return CALENDAR.get(word) or stem(word.replace("-", ""))


def _read(sentence: str, facts: AnswerFacts) -> None:
    prose, literals = _without_literals(_HYPHENATED.sub(" - ", _NO_DENIAL.sub("at most", sentence)))
    quantities, prose = quantities_of(prose.replace("#", " "))
    facts.literals |= literals
    facts.quantities |= dict.fromkeys(quantities)
    facts.bearing |= _bearing(sentence)
    clauses = []
    is_first = True
    for part in _CLAUSE_END.split(prose):
        tokens = _WORD.findall(part)
        own = tuple(dict.fromkeys(quantities[int(token[1:-1])] for token in tokens if token[0] == "#"))
        content = [token for token in tokens if token[0] != "#" and _is_content(token)]
        num_denials = sum(_is_negation(token) for token in tokens)
        facts.num_negations += num_denials
        facts.names |= _names(tokens, is_first=is_first)
        for token in content:
            facts.words.setdefault(key(token), CALENDAR.get(token.lower(), token.lower()))
        if content or own:
            clauses.append(Clause(tuple(key(token) for token in content), own, num_denials % 2 == 1))
        is_first = is_first and not tokens
    facts.clauses.append(tuple(clauses))


def _bearing(sentence: str) -> set[str]:
    found = {word.lower() for word in _WORD.findall(sentence)} & _PERSONS
    signs = {"?": sentence.rstrip("\"')").endswith("?"), "by": _PASSIVE.search(sentence), "was": _PAST.search(sentence)}
    return found | {sign for sign, is_there in signs.items() if is_there}


def _is_negation(token: str) -> bool:
    return token.lower() in NEGATIONS or token.lower().endswith("n't")


def _is_content(token: str) -> bool:
    return token.lower() not in FUNCTION_WORDS and not _is_negation(token)


def _without_literals(sentence: str) -> tuple[str, set[str]]:
    """A sentence without what is typed as it stands, and that."""
    prose, literals = [], set()
    for part in _SPACED_PLUS.sub("+", sentence).split():
        word = part.strip("\"'`[],;:!?.")
        if word.count("(") != word.count(")"):
            word = word.strip("()")
        if _is_literal(word):
            literals.add(word)
        else:
            prose.append(part)
    return " ".join(prose), literals


def _is_literal(word: str) -> bool:
    has_sense = any(char.isalpha() for char in word) or word.count(".") > 1
    return has_sense and not _NO_LITERAL.fullmatch(word) and bool(_LITERAL.search(word))


def _names(tokens: list[str], *, is_first: bool) -> dict[str, str]:
    """What is written like a name; the first word of a sentence is written so anyway."""
    found = {}
    for place, token in enumerate(tokens):
        is_capital = not token.islower() and token[0] != "#"
        is_name = token.lower() in CALENDAR or (is_capital and (place > 0 or not is_first or token.isupper()))
        if is_name and _is_content(token):
            found[key(token)] = tokens[place - 1].lower() if place else ""
    return found
