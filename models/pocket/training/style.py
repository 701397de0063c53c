"""Surface noise: politeness, small talk around a question, casing, punctuation, clipped wording."""

import re
from random import Random

OPENERS = (
    "please,", "hey,", "hi,", "hello,", "hi there,", "hey pocket,", "pocket,", "quick question:", "one question:",
    "excuse me,", "ok,", "okay,", "so,", "well,", "sorry,", "hmm,", "now,", "next:", "and", "but", "then", "oh,",
    "question:", "i have a question:", "a short question:", "for school:", "for a quiz:", "my friend asks:", "tell me:",
    "answer me:", "let me ask you:", "say,", "dear pocket,", "be so kind:", "if you please,", "alright,",
    "just curious:",
    "we are learning.", "i am reading a book.", "i am playing a game.", "here is another one.", "this one is easy.",
    "i have a test tomorrow.", "my daughter wants to know this.", "i always forget this.", "i am not sure about this.",
    "let us try something.", "maybe you can help me.", "my teacher asked me something.", "listen.", "a riddle for you.",
    "i bet you know this.", "sorry to bother you,", "could you help me?", "in your opinion,", "honestly,",
    "by the way,",
    "from what you know,", "think hard:", "tonight we have a quiz.", "if you do not mind,", "as far as you know,",
)  # fmt: skip
CLOSERS = (
    "please", "please?", "thanks", "thanks!", "thank you", "thank you!", "pocket", "do you know?", "do you know it?",
    "i need it for school.", "i forgot.", "i am curious.", "it is for a quiz.", "just the answer, please.", "right?",
    "any idea?", "can you tell me?", "can you help?", "tell me.", "my friend", "then", "now", "actually", "again",
    "exactly", "i cannot remember.", "what do you say?", "answer quickly!", "i would like to know.", "if you know.",
    "for my homework", "for me", "what is it?", "hm?", "in fact", "by the way", "to be exact", "i wonder.", "ok?",
)  # fmt: skip
CLIPPABLE = frozenset({
    "the", "a", "an", "is", "are", "do", "does", "me", "please", "of", "can", "you", "you're", "would", "could",
    "so", "and", "to", "i",
})  # fmt: skip
CLIPPED_SHARE = 0.12
CONTRACTIONS = (
    ("what is", "what's"), ("i am", "i'm"), ("do not", "don't"), ("i would", "i'd"), ("where is", "where's"),
    ("how is", "how's"), ("who is", "who's"), ("cannot", "can't"), ("it is", "it's"), ("let us", "let's"),
    ("what's", "what is"), ("what's", "whats"), ("do you", "d'you"), ("want to", "wanna"), ("going to", "gonna"),
)  # fmt: skip
MINUS = re.compile(r"(?<=\d)\s*-\s*(?=\d)")
BETWEEN_WORDS = re.compile(r"[^a-z0-9+*/]+")


def normalise(text: str) -> str:
    """Lower case with punctuation and repeated blanks removed; arithmetic signs stay."""
    return BETWEEN_WORDS.sub(" ", MINUS.sub(" minus ", text.lower())).strip()


def clip(template: str, rng: Random) -> str:
    """Drop function words of a template, never its slots: "what capital of {country}?"."""
    kept = [word for word in template.split() if word.lower() not in CLIPPABLE or rng.random() < 0.5]
    return " ".join(kept) if kept else template


def surround(text: str, rng: Random) -> str:
    """Put an opener before or a closer after the question, sometimes both."""
    if rng.random() < 0.3:
        text = f"{rng.choice(OPENERS)} {text}"
    if rng.random() < 0.2:
        separator = rng.choice((" ", ", ")) if text[-1].isalnum() else " "
        text = f"{text}{separator}{rng.choice(CLOSERS)}"
    return text


def contract(text: str, rng: Random) -> str:
    """Swap one spoken form for another ("what is" for "what's") in a third of the texts."""
    if rng.random() < 0.33:
        for long, short in CONTRACTIONS:
            if rng.random() < 0.5:
                text = re.sub(rf"\b{long}\b", short, text)
    return text


def punctuate(text: str, rng: Random) -> str:
    """Leave the last mark, drop it, or replace it."""
    draw = rng.random()
    if draw < 0.62 or text[-1] not in "?.!":
        return text if draw < 0.9 else text + rng.choice("?.!")
    bare = text.rstrip("?.!").rstrip()
    if not bare:
        return text
    return bare if draw < 0.88 else bare + rng.choice(("?", "!", ".", "??", "?!", " ?", "...", "!!"))


def capitalise(text: str, rng: Random) -> str:
    """Sentence case mostly, else all lower case, now and then capitals only."""
    draw = rng.random()
    if draw < 0.3:
        return text.lower()
    if draw < 0.31:
        return text.upper()
    text = re.sub(r"\bi\b", "I", text).replace("penstock", "Penstock") if rng.random() < 0.8 else text
    return re.sub(r"(^|[.?!:] )([a-z])", lambda match: match[1] + match[2].upper(), text)


def dress(text: str, rng: Random) -> str:
    """All the noise that leaves the words of the question in place."""
    return capitalise(punctuate(surround(contract(text, rng), rng), rng), rng)
