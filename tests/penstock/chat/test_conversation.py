"""What was said so far."""

import json
from pathlib import Path

import pytest

from penstock.chat.conversation import Conversation


@pytest.fixture
def conversation() -> Conversation:
    """One question and its answer, under a system message."""
    made = Conversation(system="Be brief.")
    made.add("Capital of France?", "Paris.")
    return made


def test_messages_are_what_a_request_takes(conversation: Conversation) -> None:
    """The system message first, then all turns."""
    assert [(message["role"], message["content"]) for message in conversation.messages] == [
        ("system", "Be brief."),
        ("user", "Capital of France?"),
        ("assistant", "Paris."),
    ]
    assert Conversation().messages == []


def test_clear_keeps_the_system_message(conversation: Conversation) -> None:
    """Who the model is does not change with the subject."""
    conversation.clear()
    assert [message["role"] for message in conversation.messages] == ["system"]


def test_saved_json_can_be_sent_again(conversation: Conversation, tmp_path: Path) -> None:
    """A bug report holds just what the model was given."""
    conversation.save(tmp_path / "talk.json", "pocket", may_replace=False)
    saved = json.loads((tmp_path / "talk.json").read_text())
    assert saved == {"model": "pocket", "messages": conversation.messages}


def test_saved_markdown_reads_well(conversation: Conversation, tmp_path: Path) -> None:
    """For people."""
    conversation.save(tmp_path / "talk.md", "pocket", may_replace=False)
    expected = "# Conversation with pocket\n\n## System\n\nBe brief.\n\n## User\n\nCapital of France?\n\n"
    assert (tmp_path / "talk.md").read_text() == f"{expected}## Assistant\n\nParis.\n"


def test_somebody_elses_file_is_not_replaced(conversation: Conversation, tmp_path: Path) -> None:
    """A wrong name must not cost a thesis."""
    path = tmp_path / "thesis.md"
    path.write_text("years of work")
    with pytest.raises(FileExistsError):
        conversation.save(path, "pocket", may_replace=False)
    assert path.read_text() == "years of work"
    conversation.save(path, "pocket", may_replace=True)
    assert path.read_text() != "years of work"
