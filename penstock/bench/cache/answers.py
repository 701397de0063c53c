"""Which answer is right when, and in which words it comes."""

import random
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_NUMBER = re.compile(r"\d+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_OTHER_WORDS = (
    ("you can", "you are able to"),
    ("you need to", "you have to"),
    ("costs", "comes to"),
    ("for example", "for instance"),
    ("about", "roughly"),
    ("until", "till"),
    ("get", "receive"),
    ("use", "make use of"),
    ("must", "has to"),
    ("only", "just"),
)


@dataclass(frozen=True, slots=True)
class Truth:
    """What makes two answers one: the class, and which of its answers, 0 before a change and 1 after it."""

    class_name: str
    version: int


class Answers:
    """The answers of a run.

    Args:
        by_class: the answer of each class.
        changing: classes whose answer changes.
        change_at: from which request on, counted from 0.
        is_reworded: whether each telling has words of its own.
        seed: decides the words.
    """

    def __init__(
        self, by_class: Mapping[str, str], *, changing: Collection[str], change_at: int, is_reworded: bool, seed: int
    ) -> None:
        self._by_class = by_class
        self._changing = frozenset(changing)
        self._change_at = change_at
        self._is_reworded = is_reworded
        self._seed = seed

    def truth(self, class_name: str, index: int) -> Truth:
        """What is right for a prompt of that class as request `index`."""
        return Truth(class_name, int(self.has_changed(class_name, index)))

    def has_changed(self, class_name: str, index: int) -> bool:
        """Whether the class has another answer by now."""
        return index >= self._change_at and class_name in self._changing

    def tell(self, class_name: str, index: int) -> str:
        """The answer that a model gives to request `index`."""
        answer = self._by_class[class_name]
        if self.has_changed(class_name, index):
            answer = changed(answer)
        if not self._is_reworded:
            return answer
        return reworded(answer, random.Random(f"{self._seed}/words/{index}"))  # noqa: S311 - a plan, not a secret


def draw_changing(classes: Collection[str], share: float, seed: int) -> list[str]:
    """That share of the classes, drawn."""
    rng = random.Random(f"{seed}/drift")  # noqa: S311 - a plan, not a secret
    return rng.sample(sorted(classes), round(share * len(classes)))


def changed(answer: str) -> str:
    """An answer that says something else: other numbers, else another rule."""
    other, num_numbers = _NUMBER.subn(lambda match: str(int(match[0]) + 1), answer)
    return other if num_numbers else f"This is no longer so. {answer.rstrip('.')} was the rule before it was changed."


def reworded(answer: str, rng: random.Random) -> str:
    """The same answer in words of its own: openings, closings, order of sentences, layout, other common words."""
    for word, other in _OTHER_WORDS:
        if rng.random() < 0.5:  # noqa: PLR2004 - one in two
            answer = re.sub(rf"\b{word}\b", other, answer)
    sentences = _SENTENCE_END.split(answer)
    if len(sentences) > 1 and rng.random() < 0.2:  # noqa: PLR2004 - one in five
        sentences = [*sentences[1:], sentences[0]]
    if len(sentences) > 1 and rng.random() < 0.2:  # noqa: PLR2004 - as above
        return "\n".join(f"- {sentence}" for sentence in sentences)
    opening = rng.choice(("", "", "", "In short: ", "Sure. ", "Here is the answer: ", "Good question! "))
    closing = rng.choice(("", "", "", "", " I hope this helps.", " Let me know if you have other questions."))
    return f"{opening}{' '.join(sentences)}{closing}"
