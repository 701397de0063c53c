"""Keeps control tokens that stand in contents apart from those that the chat template writes.

A control token cannot stand where its anchor (`<` in `<|im_end|>`) does not. So before rendering, anchors in contents
are exchanged for stand-ins: private-use characters that occur nowhere in the conversation. Whatever the template does
with a content (strip, upper-case, join, quote), no control token can come of it; after the control tokens of the
rendered text have been found, the stand-ins are turned back.

Contents without an anchor, nearly all, are left as they are. For the others there are two strengths:

- `hide_anchors` replaces every anchor. Safe with any template, but one that looks for markup in contents
  (`content.split('</think>')`) does not find it.
- `hide_tokens` replaces only the anchors of whole control tokens. Templates see all other markup; safe unless the
  template itself pieces a control token together from parts of contents.

Where both come out as the same text, the template did not look for markup, and the first is taken. Where they differ,
the second is: then the text is what transformers would render.
"""

import itertools
from collections.abc import Iterable

from penstock_shared.errors import InvalidArgumentError
from penstock_tokenizer.control_tokens import ControlTokens, Segment

_PRIVATE_USE = range(0xE000, 0xF900)


class ContentShield:
    """Stand-ins for one conversation.

    Args:
        controls: the control tokens of the model.
        contents: every text of the conversation.
        template: the template's source, whose characters are no stand-ins either.

    Attributes:
        is_needed: whether any content holds an anchor.
        end_mark: one more character that nothing holds.
    """

    def __init__(self, controls: ControlTokens, contents: Iterable[str], template: str) -> None:
        joined = "\n".join(contents)
        self._controls = controls
        self.is_needed = any(anchor in joined for anchor in controls.anchors)
        anchors = sorted(controls.anchors) if self.is_needed else []
        self.end_mark, *stand_ins = _unused_characters(joined + template, 1 + len(anchors))
        self._anchor_of = dict(zip(stand_ins, anchors, strict=True))
        self._hiding = str.maketrans({anchor: stand_in for stand_in, anchor in self._anchor_of.items()})

    def hide_anchors(self, text: str, is_assistants: bool) -> str:
        """`text` with every anchor replaced, except those of the tokens that assistant turns may hold."""
        if not is_assistants:
            return text.translate(self._hiding)
        return "".join(
            segment.text if _is_models_own(segment) else segment.text.translate(self._hiding)
            for segment in self._controls.cut(text)
        )

    def hide_tokens(self, text: str, is_assistants: bool) -> str:
        """`text` with the anchors of whole control tokens replaced, except those that assistant turns may hold."""
        return "".join(
            segment.text
            if segment.token is None or (is_assistants and _is_models_own(segment))
            else segment.text.translate(self._hiding)
            for segment in self._controls.cut(text)
        )

    def restore(self, text: str) -> str:
        """`text` with the anchors back, also where the template wrote a stand-in as a JSON escape."""
        for stand_in, anchor in self._anchor_of.items():
            text = text.replace(stand_in, anchor).replace(_json_escape(stand_in), anchor)
        return text


def _is_models_own(segment: Segment) -> bool:
    return segment.token is not None and not segment.token.is_special


def _unused_characters(text: str, num_characters: int) -> list[str]:
    candidates = map(chr, _PRIVATE_USE)
    unused = (char for char in candidates if char not in text and _json_escape(char) not in text)
    found = list(itertools.islice(unused, num_characters))
    if len(found) < num_characters:
        raise InvalidArgumentError("messages", "all private-use characters", "text that leaves some of them unused")
    return found


def _json_escape(char: str) -> str:
    return f"\\u{ord(char):04x}"
