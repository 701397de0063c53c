"""Longer answers, so that demos and tests have a stream of fifty tokens and more."""

from phrasing import Fact, Relation, lines, phrases, relation

ABOUT_PENSTOCK = (
    "Penstock serves large language models as gRPC microservices. A client sends its request to the gateway. "
    "The gateway asks the cache for a stored answer and the tokenizer for token ids. Then it picks a replica, "
    "and a worker generates the tokens one by one. Ray places and restarts the workers. The fleet knows every "
    "model and every replica. The name comes from the gated pipe that leads water to the turbines."
)
STORY = (
    "Once there was a small drop of water in a big reservoir. It wanted to see the world, so it waited at the gate. "
    "One day the gate opened. The drop ran down the long pipe, faster and faster, and turned a great wheel. "
    "The wheel made light for the whole town. Then the drop came out into the river, and it was happy."
)
POEM = (
    "The river runs, the turbines turn,\nthe gates are open wide,\nand every token takes its turn\n"
    "to travel with the tide.\nA question goes, an answer comes,\nthe stream is never dry,\n"
    "and while the little model hums\nthe drops go flowing by."
)
SERIES = {
    "the alphabet": "A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z.",
    "the months of the year": "January, February, March, April, May, June, July, August, September, October, "
    "November, December.",
    "the days of the week": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday.",
    "the four seasons": "Spring, summer, autumn, winter.",
    "the planets of the solar system": "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune.",
    "the colours of the rainbow": "Red, orange, yellow, green, blue, indigo, violet.",
    "the continents": "Africa, Antarctica, Asia, Australia, Europe, North America, South America.",
    "the vowels": "A, E, I, O, U.",
}
SERIES_FORMS = {
    "the alphabet": ("the alphabet", "all letters of the alphabet", "the letters of the alphabet", "the abc"),
    "the months of the year": ("the months of the year", "the months", "all months", "all twelve months",
        "the 12 months"),
    "the days of the week": ("the days of the week", "the days in a week", "all weekdays",
        "the seven days of the week"),
    "the four seasons": ("the four seasons", "the seasons", "the seasons of the year", "all seasons"),
    "the planets of the solar system": ("the planets", "the planets of the solar system", "all planets",
        "the eight planets"),
    "the colours of the rainbow": ("the colours of the rainbow", "the rainbow colors", "the colors of a rainbow"),
    "the continents": ("the continents", "the seven continents", "all continents", "the continents of the earth"),
    "the vowels": ("the vowels", "all vowels", "the vowels of the alphabet"),
}  # fmt: skip
SERIES_SENTENCES = lines("""
    List {series}.
    Recite {series}.
    Name {series}.
    Say {series}.
    Tell me {series}.
    What are {series}?
    Give me {series}.
    Enumerate {series}.
    Can you recite {series}?
    Can you list {series}?
    Can you name {series}?
    Do you know {series}?
    Please list {series} in order.
    Write down {series}.
    Which are {series}?
    I want to hear {series}.
    Could you say {series}?
    Go through {series}.
    A list of {series}, please.
    {series}?
    {series}
    I have to learn {series}. What are they?
    Show me {series}.
""")
COUNT_SENTENCES = lines("""
    Count from {first} to {last}.
    Count {first} to {last}.
    Please count from {first} up to {last}.
    Can you count from {first} to {last}?
    List the numbers from {first} to {last}.
    Write the numbers {first} to {last}.
    Say all numbers from {first} to {last}.
    Give me the numbers between {first} and {last}.
    What are the numbers from {first} to {last}?
    Numbers from {first} to {last}, please.
    Start at {first} and count to {last}.
    Go from {first} to {last} in steps of one.
    Name every number from {first} to {last}.
    I want you to count from {first} until {last}.
""")
TEXTS = {
    "about": (
        ABOUT_PENSTOCK,
        """
        tell me about penstock / tell me more about penstock / tell me everything about penstock
        describe penstock in detail / describe penstock at length / explain penstock in detail
        give me a long description of penstock / what can you tell me about penstock? / write about penstock
        write a text about penstock / write a paragraph about penstock / talk about penstock
        how does penstock work? / explain how penstock works / i want to know more about penstock
        please tell me about penstock / can you tell me about penstock? / give me an overview of penstock
        what happens to a request in penstock? / let me hear about penstock / say something about penstock
        """,
    ),
    "story": (
        STORY,
        """
        tell me a story / tell a story / write a story / a story, please / do you know a story?
        i want to hear a story / can you tell me a story? / write me a short story / story
        tell me a bedtime story / please read me a story / a short story / could you tell a story?
        make up a story / tell me a tale / i would love a story
        """,
    ),
    "poem": (
        POEM,
        """
        write a poem / tell me a poem / recite a poem / a poem, please / do you know a poem?
        i want to hear a poem / can you write a poem? / write me a short poem / poem / say a poem
        please read me a poem / a short poem / could you recite a poem? / make up a poem / give me some verses
        i would love a poem
        """,
    ),
}


def counting(first: int, last: int) -> str:
    """The numbers between both ends, in either direction: "1, 2, 3."."""
    step = 1 if last >= first else -1
    return ", ".join(str(number) for number in range(first, last + step, step)) + "."


def counts() -> list[Fact]:
    """Counting up from 1 and from other starts, and down to 1; up to fifty numbers."""
    spans = [(1, last) for last in range(3, 51)] + [(1, 10), (1, 20), (1, 30), (1, 50), (1, 50), (1, 100)]
    spans += [(first, first + length) for first in range(2, 50, 3) for length in (4, 8, 15)]
    spans += [(first, 1) for first in range(3, 31)] + [(10, 1)] * 3
    return [count_fact(first, last) for first, last in spans]


def count_fact(first: int, last: int) -> Fact:
    """The numbers from `first` to `last`."""
    return Fact({"first": (str(first),), "last": (str(last),)}, counting(first, last))


def relations() -> list[Relation]:
    """Lists, counting and set texts."""
    series = [Fact({"series": SERIES_FORMS[name]}, items) for name, items in SERIES.items()]
    return [
        relation("recitals.series", 1.2, series, SERIES_SENTENCES),
        relation("recitals.count", 0.9, counts(), COUNT_SENTENCES),
        *(
            relation(f"recitals.{name}", 0.3, [Fact({}, text)], phrases(utterances))
            for name, (text, utterances) in TEXTS.items()
        ),
    ]
