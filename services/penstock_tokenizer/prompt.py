"""From a conversation to its prompt: rendered, and cut at the control tokens that the template wrote."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_tokenizer.chat import ASSISTANT, Chat, Disguise
from penstock_tokenizer.checkpoint import ChatTemplate
from penstock_tokenizer.control_tokens import ControlTokens, Segment
from penstock_tokenizer.rendering.pool import RenderPool
from penstock_tokenizer.shield import ContentShield

_KNOWN_ROLES = frozenset(
    {"assistant", "developer", "function", "ipython", "model", "observation", "system", "tool", "user"}
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation.

    Attributes:
        text: as the template wrote it.
        segments: the same, cut at the template's control tokens; ready to be encoded.
    """

    text: str
    segments: list[Segment]


class PromptWriter:
    """Writes the prompts of one model.

    Args:
        pool: renders templates.
        template: the model's own; None where it has none.
        controls: the model's control tokens.
    """

    def __init__(self, pool: RenderPool, template: ChatTemplate | None, controls: ControlTokens) -> None:
        self._pool = pool
        self._template = template
        self._controls = controls

    async def write(self, chat: Chat) -> Prompt:
        """Renders `chat`. Control tokens in its contents are text in the result.

        Raises:
            InvalidArgumentError: the template refuses the conversation, or its end cannot be left open.
            FailedPreconditionError: there is no template, or it is not usable.
            ResourceExhaustedError: too much is being rendered.
        """
        if self._template is None:
            raise FailedPreconditionError("the model has no chat template; send text or token ids instead of messages")
        self._check_roles(chat)
        source = self._template.source(has_tools=bool(chat.tools))
        shield = ContentShield(self._controls, chat.texts(), source)
        render = partial(self._render, source, chat, shield)
        if not shield.is_needed:
            return self._to_prompt(await render(_as_it_is), shield)
        strict, exact = await asyncio.gather(render(shield.hide_anchors), render(shield.hide_tokens))
        is_same_text = shield.restore(strict) == shield.restore(exact)
        return self._to_prompt(strict if is_same_text else exact, shield)

    def _check_roles(self, chat: Chat) -> None:
        """Templates compare roles, so they are not shielded: an unusual one must not spell a control token."""
        if chat.continue_final_message and chat.messages[-1].role != ASSISTANT:
            raise InvalidArgumentError("continue_final_message", chat.messages[-1].role, "a last turn of the assistant")
        for index, message in enumerate(chat.messages):
            if message.role not in _KNOWN_ROLES and any(message.role in token.text for token in self._controls):
                allowed = "a role that is no part of a control token"
                raise InvalidArgumentError(f"messages[{index}].role", message.role, allowed)

    async def _render(self, source: str, chat: Chat, shield: ContentShield, disguise: Disguise) -> str:
        assert self._template is not None
        mark = f"{shield.end_mark} " if chat.continue_final_message else ""
        variables: dict[str, Any] = {**self._template.variables, **chat.variables(disguise, final_suffix=mark)}
        text = await self._pool.render(source, variables)
        return _leave_open(text, mark, chat, shield.restore) if mark else text

    def _to_prompt(self, rendered: str, shield: ContentShield) -> Prompt:
        if not shield.is_needed:
            return Prompt(rendered, self._controls.split(rendered))
        segments = [
            segment if segment.token else Segment(shield.restore(segment.text))
            for segment in self._controls.split(rendered)
        ]
        return Prompt(shield.restore(rendered), segments)


def _as_it_is(text: str, _is_assistants: bool) -> str:
    return text


def _leave_open(text: str, mark: str, chat: Chat, restore: Callable[[str], str]) -> str:
    """Cuts the prompt behind the last message's content, which `mark` (a character and a space) follows.

    As in transformers: where the template trimmed the mark's space, it trims contents, and so does this.
    """
    content = chat.messages[-1].content.strip()
    position = text.rfind(mark.strip())
    if position < 0 or content not in restore(text):
        raise InvalidArgumentError(
            "continue_final_message", True, "a last turn whose content the chat template writes as it is"
        )
    is_trimmed = not text.startswith(mark, position)
    return text[:position].rstrip() if is_trimmed else text[:position]
