"""A constraint as llguidance compiles it: the same grammar, under the same limits, in gateway and worker.

To be imported by child processes only: a hostile grammar can overflow the stack of the process that compiles it, and
none of the library's own limits bounds the time of every grammar.
"""

import json
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from penstock_shared.constraint import ConstraintKind

# Between the parts of a JSON text: nothing, or one space. With no bound, which is llguidance's default, a weak model
# goes on with spaces and new lines for ever. A schema's own "x-guidance" overrides it.
_JSON_DEFAULTS: Any = {"whitespace_pattern": " ?"}
_MAX_MESSAGE_CHARS = 240


def make_matcher(tokenizer: LLTokenizer, kind: str, texts: list[str]) -> LLMatcher:
    """The matcher of a constraint at its beginning.

    Raises:
        ValueError: it cannot be compiled; says why in one line.
    """
    # Messages name places, and do not carry the grammar.
    limits = LLParserLimits(verbose_errors=False)
    matcher = LLMatcher(tokenizer, _grammar(ConstraintKind(kind), texts), limits=limits, log_level=0)
    if matcher.is_error():
        raise ValueError(one_line(matcher.get_error()))
    return matcher


def one_line(message: str) -> str:
    """The heart of one of llguidance's messages, which quote their sources over many lines."""
    _, quoted, heart = message.rpartition("error: ")
    lines = (heart if quoted else message).splitlines()
    text = next((line.strip() for line in lines if line.strip()), "no reason given")
    return text if len(text) <= _MAX_MESSAGE_CHARS else text[: _MAX_MESSAGE_CHARS - 1] + "…"


def _grammar(kind: ConstraintKind, texts: list[str]) -> str:
    match kind:
        case ConstraintKind.JSON_SCHEMA:
            return _json_schema(texts[0])
        case ConstraintKind.REGEX:
            return LLMatcher.grammar_from_regex(texts[0])
        case ConstraintKind.GRAMMAR:
            return _lark(texts[0])
        case ConstraintKind.CHOICE:
            return _lark(f"start: OPTION\nOPTION: {' | '.join(_literal(option) for option in texts)}")


def _json_schema(text: str) -> str:
    """A schema may be `true`, which allows anything, or `false`; options can only be given to an object."""
    if text.strip() == "false":
        return LLMatcher.grammar_from_json_schema(text)
    return LLMatcher.grammar_from_json_schema("{}" if text.strip() == "true" else text, defaults=_JSON_DEFAULTS)


def _lark(text: str) -> str:
    """Never the text as it is: llguidance would read one that begins with a brace as its own format of grammars."""
    return json.dumps({"grammars": [{"lark_grammar": text}]})


def _literal(option: str) -> str:
    return json.dumps(option, ensure_ascii=False)
