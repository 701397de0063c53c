"""Where control tokens stand in a text."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_tokenizer.control_tokens import ControlToken, ControlTokens, Segment, looks_like_markup

START = ControlToken(1, "<|start|>", is_special=True)
STARTING = ControlToken(2, "<|start|>er", is_special=True)
END = ControlToken(3, "<|end|>", is_special=True, strips_right=True)
MASK = ControlToken(4, "<mask>", is_special=True, strips_left=True)
CONTROLS = ControlTokens([START, STARTING, END, MASK])


def test_the_longest_of_two_tokens_wins() -> None:
    """The library matches leftmost, then longest; another choice would give other ids."""
    assert CONTROLS.cut("<|start|>er<|start|>e") == [
        Segment("<|start|>er", STARTING),
        Segment("<|start|>", START),
        Segment("e"),
    ]


def test_tokens_swallow_the_white_space_that_they_are_declared_to() -> None:
    """Phi's `<|end|>` takes the line break after it, BERT's `<mask>` the space before it."""
    assert CONTROLS.split("a <|end|>\n b <mask> c") == [
        Segment("a "),
        Segment("<|end|>", END),
        Segment("b"),
        Segment("<mask>", MASK),
        Segment(" c"),
    ]


@given(st.lists(st.sampled_from(["<|start|>", "<|", "er", "<mask>", " ", "<|end|>", "\n", "x"])).map("".join))
def test_cutting_loses_nothing(text: str) -> None:
    """Contents are cut too, and must come out as they were."""
    assert "".join(segment.text for segment in CONTROLS.cut(text)) == text


def test_a_tokenizer_without_control_tokens_finds_none() -> None:
    """An empty pattern would match everywhere."""
    assert ControlTokens([]).cut("<|start|>") == [Segment("<|start|>")]


def test_the_anchor_is_the_character_that_sets_a_token_apart() -> None:
    """Texts without it skip all shielding, so it must not be a letter where there is a choice."""
    assert [ControlToken(0, text, is_special=True).anchor for text in ("<s>", "s>", "PAD")] == ["<", ">", "P"]


def test_runs_of_spaces_and_digits_are_no_markup() -> None:
    """Tokenizers add such tokens as ordinary vocabulary; templates contain them by accident."""
    assert [text for text in ("<think>", "[INST]", "    ", "12", "\n\n", "<|", "user") if looks_like_markup(text)] == [
        "<think>",
        "[INST]",
    ]
