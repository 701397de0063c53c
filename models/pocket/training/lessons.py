"""What is learned when: most of the corpus first, then its rest with the drills among it."""

from random import Random

import drills
from corpus import HANDWRITTEN, Conversation, Corpus, courses, questions_in
from packing import Encoder, Rows, batches
from style import normalise

FIRST_CYCLE_SHARE = 0.5757
"""Of the batches of the corpus; the first cycle is a whole training run, which ends at rates of zero."""
NUM_SUM_DRILLS = 75_000
NUM_COUNT_DRILLS = 3_000
NUM_SHOUT_DRILLS = 4_000


def practice(corpus: Corpus, seed: int) -> list[Conversation]:
    """All drills; no question of the hand-written or held-out ones is among them."""
    split_courses, rng = courses(seed), Random(f"{seed} drills")
    forbidden = questions_in(HANDWRITTEN) | {normalise(turn.question) for turn in corpus.held_out_templates}
    return [
        *drills.sums(split_courses, NUM_SUM_DRILLS, rng),
        *drills.counting(split_courses, NUM_COUNT_DRILLS, forbidden, rng),
        *drills.shouted(corpus.train, NUM_SHOUT_DRILLS, rng),
    ]


def lessons(corpus: Corpus, encoder: Encoder, batch_tokens: int, seed: int) -> tuple[Rows, Rows]:
    """The batches of both cycles."""
    rng = Random(seed)
    whole = batches([encoder.encode(c) for c in corpus.train], batch_tokens, rng)
    num_first = round(len(whole) * FIRST_CYCLE_SHARE)
    rest = [example for rows in whole[num_first:] for row in rows for example in row]
    rest += [encoder.encode(c) for c in practice(corpus, seed)]
    rng.shuffle(rest)
    return whole[:num_first], batches(rest, batch_tokens, rng)
