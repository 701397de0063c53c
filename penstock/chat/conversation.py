"""What was said so far."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from penstock.client import Message


@dataclass(slots=True)
class Conversation:
    """Turns in order, under a system message that holds for all of them.

    Attributes:
        system: instructions to the model; empty: none.
        turns: of user and assistant in turn.
    """

    system: str = ""
    turns: list[Message] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        """Everything, as a request takes it."""
        return [*([Message(role="system", content=self.system)] if self.system else []), *self.turns]

    def add(self, question: str, answer: str) -> None:
        """The user asked, the model answered."""
        self.turns += [Message(role="user", content=question), Message(role="assistant", content=answer)]

    def clear(self) -> None:
        """Begins anew; the system message stays."""
        self.turns.clear()

    def to_json(self, model: str) -> str:
        """An object with the model's name and the messages as a request takes them."""
        return json.dumps({"model": model, "messages": self.messages}, ensure_ascii=False, indent=2) + "\n"

    def to_markdown(self, model: str) -> str:
        """For people: a heading for each turn."""
        parts = [f"# Conversation with {model}"]
        parts += [f"## {message['role'].capitalize()}\n\n{message['content']}" for message in self.messages]
        return "\n\n".join(parts) + "\n"

    def save(self, path: Path, model: str, *, may_replace: bool) -> None:
        """Writes Markdown where the name ends in `.md`, else JSON.

        Raises:
            FileExistsError: a file is there, and must not be replaced.
            OSError: it cannot be written.
        """
        text = self.to_markdown(model) if path.suffix == ".md" else self.to_json(model)
        with path.open("w" if may_replace else "x", encoding="utf-8") as file:
            file.write(text)
