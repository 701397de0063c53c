"""Opposites of everyday words."""

from phrasing import Fact, Relation, lines, relation

BOTH_WAYS = """
hot=cold big=small fast=slow day=night heavy=light early=late happy=sad rich=poor wet=dry full=empty strong=weak
soft=hard up=down left=right high=low long=short thick=thin wide=narrow deep=shallow clean=dirty loud=quiet
near=far good=bad black=white true=false open=closed first=last inside=outside above=below front=back top=bottom
begin=end push=pull buy=sell win=lose give=take love=hate remember=forget laugh=cry arrive=depart rise=fall
float=sink north=south east=west summer=winter morning=evening friend=enemy war=peace question=answer
success=failure cheap=expensive safe=dangerous brave=cowardly smooth=rough sweet=sour sharp=blunt tight=loose
simple=complicated polite=rude guilty=innocent modern=ancient public=private alive=dead awake=asleep
beautiful=ugly clever=stupid generous=stingy tall=tiny wrong=correct more=less always=never everything=nothing
always=never before=after on=off yes=no in=out with=without
"""
ONE_WAY = "young=old old=young new=old easy=hard dark=light large=small quick=slow close=far start=stop warm=cool"

NOUNS = ("the opposite of {word}", "the antonym of {word}", "an antonym of {word}", "the contrary of {word}",
         "the reverse of {word}", "the opposite word of {word}", "the opposite to {word}", "the counterpart of {word}",
         "a word that is the opposite of {word}", "an opposite for {word}", "the opposite of the word {word}",
         "the word opposite to {word}")  # fmt: skip
CLAUSES = ("what the opposite of {word} is", "which word is the opposite of {word}", "what is opposite to {word}",
           "what word is the contrary of {word}", "how you call the opposite of {word}",
           "which word means the reverse of {word}", "what the antonym of {word} is")  # fmt: skip
SENTENCES = lines("""
    Which word is the opposite of {word}?
    What word is opposite to {word}?
    {word} is the opposite of
    The opposite of {word} is
    The opposite of {word} would be which word?
    Opposite of {word}?
    Opposite: {word}
    Antonym of {word}?
    Antonym for {word}, please.
    {word}: opposite?
    {word}, and the opposite?
    Something is not {word}. What is it then?
    If it is not {word}, it is what?
    Not {word} but ...?
    What is the exact contrary of {word}?
    What stands against {word}?
    {word} and its contrary?
    {word} has which opposite?
    {word} has an opposite. Which word is it?
    Turn {word} into its opposite.
    Say the reverse of {word}.
    Which word means the contrary of {word}?
    Which is the opposite word: {word} and ...?
    How do you say the opposite of {word}?
    Give the opposite: {word}
    I say {word}, you say the opposite.
    Let us play opposites. {word}!
    Someone says {word}. Answer with the opposite.
    The contrary of {word} is which word?
    To {word} there is an opposite; name it.
    What is the other end from {word}?
    Finish the pair of opposites: {word} and
    Find a word that means the reverse of {word}.
    With which word do I contradict {word}?
""")


def pairs() -> dict[str, str]:
    """Word → its opposite; words with two readings keep the one listed last."""
    answers: dict[str, str] = {}
    for entry in BOTH_WAYS.split():
        first, _, second = entry.partition("=")
        answers |= {first: second, second: first}
    return answers | dict(entry.split("=") for entry in ONE_WAY.split())


def relations() -> list[Relation]:
    """Word to opposite."""
    facts = [
        Fact({"word": (word, word, f'"{word}"')}, f"The opposite of {word} is {opposite}.")
        for word, opposite in pairs().items()
    ]
    return [relation("opposites.of", 9.0, facts, SENTENCES, NOUNS, CLAUSES)]
