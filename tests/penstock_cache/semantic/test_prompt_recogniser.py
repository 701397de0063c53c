"""What is told of a prompt by its words."""

import time

import pytest

from penstock_cache.semantic.prompt_recogniser import Bond, bond_of


@pytest.mark.parametrize(
    "prompt",
    [
        "What time is it?",
        "what's the weather in Paris",
        "Who is the current president of France?",
        "Who won the match yesterday?",
        "What is on TV tonight?",
        "bitcoin price",
        "latest news about the election",
        "How many days until Christmas?",
        "Who is the mayor of Rome now?",
        "Was läuft heute im Kino?",
        "bus strikes in Lyon today",
        "Tonight in Rome, what is on?",
        "Are the shops open today, and until when?",
        "My train is late, is there another one tonight?",
        "Which customers called today?",
        "Who is in command of the fleet right now?",
        "How do we currently stand against the budget?",
        "What is the current gold price, and how do I buy some?",
    ],
)
def test_prompts_of_a_moment_are_told(prompt: str) -> None:
    """An answer of yesterday is wrong today."""
    assert bond_of(prompt) is Bond.TIME


@pytest.mark.parametrize(
    "prompt",
    [
        "What is my balance?",
        "when is my next appointment",
        "who am i",
        "Show me my latest invoices",
        "My name is Ann, what is yours?",
        "what's in my inbox",
        "Write to bob@example.org that I am late",
        "Is 4111 1111 1111 1111 a valid card?",
        "Pay DE89 3704 0044 0532 0130 00",
        "How much data do I have left this month?",
    ],
)
def test_prompts_of_a_person_are_told(prompt: str) -> None:
    """The next who asks alike is somebody else."""
    assert bond_of(prompt) is Bond.PERSON


@pytest.mark.parametrize(
    "prompt",
    [
        "What is the capital of France?",
        "How do I reset my password?",
        "How do I change my email address?",
        "I lost my card yesterday, how can I get it barred?",
        "My child is ill today, how do I tell the school?",
        "When it is 3 p.m. in London, what time is it in Tokyo?",
        "What is the current in a circuit of 5 ohms at 10 volts?",
        "convert 1,000,000,000 to binary",
        "What is the time complexity of quicksort?",
        'Make this more polite: "Who is there right now?"',
        "Callers get an engaged tone at the moment. How do I change that?",
        "which servers does the daemon currently call, command?",
        "Which option shows the containers that are up right now?",
        "Guest comes late tonight, what do you need from me?",
        "Good evening, the parcel went to the neighbour today. What is the procedure?",
        "report a broken lift today",
        "Where is the Rosetta Stone kept today?",
        "Which museum currently houses the Night Watch?",
    ],
)
def test_prompts_of_everybody_are_let_through(prompt: str) -> None:
    """They are what a cache is for."""
    assert bond_of(prompt) is None


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1 ",
        "what ",
        "how much ",
        "my ",
        "a.",
        "DE89 ",
        "today i ",
        "@",
        "  ",
        '"',
        "who is ",
        "is a ",
        "how do we ",
        "today, ",
    ],
)
def test_no_prompt_takes_long(unit: str) -> None:
    """It runs on the event loop: a prompt that keeps it busy would be everybody's delay."""
    begun = time.process_time()
    bond_of(unit * (4096 // len(unit)))
    assert time.process_time() - begun < 1
