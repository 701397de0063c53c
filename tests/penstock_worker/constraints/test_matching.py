"""A sequence's place in its grammar: what it may take next, along a draft too, and what sequences share."""

import json
import threading

import pytest
from fakes.word_checkpoints import EOS_TOKEN_ID, TOKENIZER_SIZE
from llguidance import LLTokenizer
from tokenizers import Tokenizer

from penstock_worker.constraints.matching import GrammarCache, SequenceMatcher
from penstock_worker.constraints.wire import MaskState, Reply


@pytest.fixture
def cache(ll_tokenizer: LLTokenizer) -> GrammarCache:
    """Room for two grammars."""
    return GrammarCache(ll_tokenizer, 2)


def sequence(cache: GrammarCache, kind: str, *texts: str) -> SequenceMatcher:
    """A sequence at the beginning of a grammar."""
    return SequenceMatcher(1, cache.matcher(kind, texts), vocab_size=TOKENIZER_SIZE, eos_token_ids=[EOS_TOKEN_ID])


def masks_of(reply: Reply) -> list[bytes]:
    """Each of a reply's masks."""
    num_bytes = TOKENIZER_SIZE // 8
    return [reply.masks[start : start + num_bytes] for start in range(0, len(reply.masks), num_bytes)]


@pytest.mark.parametrize(
    ("constraint", "matching", "other"),
    [
        (("json_schema", '{"type": "object", "properties": {"a": {"type": "integer"}}}'), '{"a": 12}', '{"a": "1"}'),
        (("json_schema", "true"), '[1, {"b": null}]', "[1,]"),
        (("regex", r"[0-9]{2}/\d+\nend"), "12/3\nend", "12/3 end"),
        (("grammar", 'start: "a" ("b" | "c")+'), "abcb", "a"),
        (("choice", "yes", 'say "no"\n', "größer/ü"), 'say "no"\n', "no"),
        (("choice", "yes", "yes please"), "yes", "yes p"),
    ],
)
def test_every_kind_of_constraint_admits_what_it_says(
    cache: GrammarCache, tokenizer: Tokenizer, constraint: tuple[str, ...], matching: str, other: str
) -> None:
    """A whole text may end; another may not."""
    assert _may_end(sequence(cache, *constraint), tokenizer.encode(matching).ids)
    assert not _may_end(sequence(cache, *constraint), tokenizer.encode(other).ids)


def test_whitespace_between_parts_of_json_is_bounded(cache: GrammarCache, tokenizer: Tokenizer) -> None:
    """A weak model would go on with spaces for ever."""
    schema = json.dumps({"type": "array", "items": {"type": "integer"}})
    for text in ("[1,2]", "[1, 2]", "[ 1, 2 ]"):
        assert _may_end(sequence(cache, "json_schema", schema), tokenizer.encode(text).ids)
    for text in ("[1,  2]", "[1,\n2]"):
        assert not _may_end(sequence(cache, "json_schema", schema), tokenizer.encode(text).ids)


def test_schema_may_choose_its_own_whitespace(cache: GrammarCache, tokenizer: Tokenizer) -> None:
    """Llguidance's own key in the schema has the last word."""
    schema = json.dumps({"type": "array", "x-guidance": {"whitespace_pattern": "\n?"}})
    assert _may_end(sequence(cache, "json_schema", schema), tokenizer.encode("[1,\n2]").ids)
    assert not _may_end(sequence(cache, "json_schema", schema), tokenizer.encode("[1, 2]").ids)


def test_grammar_that_cannot_go_on_is_complete(cache: GrammarCache, tokenizer: Tokenizer) -> None:
    """The sequence stops without a step of the model for its end."""
    matcher = sequence(cache, "choice", "yes", "no")
    assert matcher.reply().state is MaskState.READY
    matcher.accept(tokenizer.encode("no").ids)
    assert matcher.reply() == Reply(1, MaskState.COMPLETE)


def test_token_that_is_not_allowed_is_an_error(cache: GrammarCache, tokenizer: Tokenizer) -> None:
    """It ends the one sequence, for instance where a resumed output is not of this grammar."""
    with pytest.raises(ValueError, match="doesn't satisfy the grammar"):
        sequence(cache, "choice", "yes").accept(tokenizer.encode("no").ids)


def test_masks_along_a_draft_are_those_of_its_tokens_and_change_nothing(
    cache: GrammarCache, tokenizer: Tokenizer
) -> None:
    """For speculation: the draft is followed as far as the grammar goes, and then forgotten."""
    draft = tokenizer.encode("12-x").ids
    assert len(draft) == 4
    matcher = sequence(cache, "regex", "[0-9]+-[0-9]")
    followed = masks_of(matcher.reply(draft))
    step_by_step, expected = sequence(cache, "regex", "[0-9]+-[0-9]"), []
    for token_id in draft:
        expected += masks_of(step_by_step.reply())
        if tokenizer.id_to_token(token_id) != "x":  # which is not followed
            step_by_step.accept([token_id])
    assert followed == expected
    matcher.accept(tokenizer.encode("34-5").ids)
    assert matcher.reply().state is MaskState.COMPLETE


def test_rollback_undoes_tokens(cache: GrammarCache, tokenizer: Tokenizer) -> None:
    """Accepted from a draft by mistake, they can be taken back."""
    matcher = sequence(cache, "regex", "[0-9]+-[0-9]")
    before = matcher.reply()
    matcher.accept(tokenizer.encode("12").ids)
    assert matcher.reply() != before
    matcher.rollback(2)
    assert matcher.reply() == before


def test_sequences_of_one_grammar_share_its_compilation_and_not_their_place(
    cache: GrammarCache, tokenizer: Tokenizer
) -> None:
    """N choices compile once."""
    first, second = sequence(cache, "choice", "yes", "no"), sequence(cache, "choice", "yes", "no")
    assert cache.num_compiled == 1
    first.accept(tokenizer.encode("no").ids)
    assert (first.reply().state, second.reply().state) == (MaskState.COMPLETE, MaskState.READY)


def test_least_recently_used_grammar_is_forgotten(cache: GrammarCache) -> None:
    """The cache is bounded."""
    for text in ("a", "b", "a", "c", "a", "b"):
        cache.matcher("regex", [text])
    assert (len(cache), cache.num_compiled) == (2, 4)


def test_grammar_that_does_not_compile_is_not_kept(cache: GrammarCache) -> None:
    """Nor does anybody wait for it."""
    for _ in range(2):
        with pytest.raises(ValueError, match="unclosed group"):
            cache.matcher("regex", ["("])
    assert (len(cache), cache.num_compiled) == (0, 2)


def test_grammar_asked_for_by_many_threads_at_once_is_compiled_once(cache: GrammarCache) -> None:
    """Several compilers work; a burst of equal requests must not keep all of them busy."""
    schema = json.dumps({"enum": [f"value {number * 7919}" for number in range(1000)]})
    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.matcher("json_schema", [schema]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), cache.num_compiled) == (4, 1)


def _may_end(matcher: SequenceMatcher, token_ids: list[int]) -> bool:
    try:
        matcher.accept(token_ids)
        reply = matcher.reply()
    except ValueError:
        return False
    return reply.state is MaskState.COMPLETE or bool(int.from_bytes(reply.masks, "little") >> EOS_TOKEN_ID & 1)
