"""A conversation as values, and as the variables that chat templates read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

JsonValue = Any
ASSISTANT = "assistant"

Disguise = Callable[[str, bool], str]
"""Takes a text and whether an assistant turn holds it; returns what the template sees in its place."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made; `arguments` is parsed JSON."""

    call_id: str
    name: str
    arguments: JsonValue


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: str
    content: str
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `parameters` is a parsed JSON schema."""

    name: str
    description: str
    parameters: JsonValue


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation and how its prompt ends.

    Attributes:
        messages: at least one.
        tools: offered to the model.
        add_generation_prompt: end with the marker that begins the assistant's turn.
        continue_final_message: leave the last assistant turn open.
    """

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    add_generation_prompt: bool = False
    continue_final_message: bool = False

    def texts(self) -> Iterator[str]:
        """Every text that somebody other than the template's author wrote, roles excepted."""
        found: list[str] = []

        def note(text: str, _is_assistants: bool) -> str:
            found.append(text)
            return text

        self.variables(note)
        return iter(found)

    def variables(self, disguise: Disguise, final_suffix: str = "") -> dict[str, Any]:
        """What the template reads, as Hugging Face's templates expect it.

        Args:
            disguise: applied to every text except roles, which templates compare.
            final_suffix: put behind the last message's content.
        """
        messages = [_message(message, disguise) for message in self.messages]
        messages[-1]["content"] += final_suffix
        return {
            "messages": messages,
            "tools": [_tool(tool, disguise) for tool in self.tools] or None,
            "documents": None,
            "add_generation_prompt": self.add_generation_prompt,
        }


def _message(message: Message, disguise: Disguise) -> dict[str, Any]:
    is_assistants = message.role == ASSISTANT
    made: dict[str, Any] = {"role": message.role, "content": disguise(message.content, is_assistants)}
    if message.name is not None:
        made["name"] = disguise(message.name, is_assistants)
    if message.tool_call_id is not None:
        made["tool_call_id"] = disguise(message.tool_call_id, is_assistants)
    if message.tool_calls:
        made["tool_calls"] = [_tool_call(call, disguise) for call in message.tool_calls]
    return made


def _tool_call(call: ToolCall, disguise: Disguise) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": disguise(call.call_id, True), "type": "function", "function": _disguised(function, disguise, True)}


def _tool(tool: Tool, disguise: Disguise) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": _disguised(function, disguise, False)}


def _disguised(value: JsonValue, disguise: Disguise, is_assistants: bool) -> JsonValue:
    if isinstance(value, str):
        return disguise(value, is_assistants)
    if isinstance(value, list):
        return [_disguised(item, disguise, is_assistants) for item in value]
    if isinstance(value, Mapping):
        return {disguise(key, is_assistants): _disguised(item, disguise, is_assistants) for key, item in value.items()}
    return value
