"""Typical colours of things."""

from phrasing import Fact, Relation, lines, relation

# one thing a cell: singular (with article, as the answer says it) / other forms = colour
THINGS = """
a banana/bananas/a ripe banana=yellow; a lemon/lemons=yellow; the sun=yellow; a canary/canaries=yellow
a sunflower/sunflowers=yellow; butter=yellow; corn=yellow; an egg yolk/the yolk of an egg=yellow
grass=green; a frog/frogs=green; a leaf/leaves/a leaf in summer=green; a cucumber/cucumbers=green; spinach=green
broccoli=green; a lime/limes=green; a pea/peas=green; a cactus=green; lettuce=green; an emerald/emeralds=green
blood=red; a tomato/tomatoes=red; a strawberry/strawberries=red; a cherry/cherries=red; a ruby/rubies=red
a fire engine/fire engines/a fire truck=red; a ladybird/ladybirds/a ladybug=red; a stop sign/stop signs=red
the sky/the daytime sky=blue; the ocean=blue; a sapphire/sapphires=blue; a blueberry/blueberries=blue
a pair of jeans/jeans=blue; a blue whale=blue
snow/fresh snow=white; milk=white; cotton=white; salt=white; a polar bear/polar bears=white; a swan/swans=white
rice=white; paper/a sheet of paper=white; flour=white; sugar=white; a snowman/snowmen=white; a cloud/clouds=white
coal=black; a raven/ravens=black; a crow/crows=black; tar=black; the night sky=black; a tyre/tyres/a car tyre=black
soot=black; ebony=black
a carrot/carrots=orange; a pumpkin/pumpkins=orange; a tangerine/tangerines=orange; an apricot/apricots=orange
a goldfish/goldfishes=orange
chocolate=brown; coffee=brown; a chestnut/chestnuts=brown; a brown bear=brown; soil/earth=brown; wood=brown
a coconut/coconuts=brown; cinnamon=brown; a potato/potatoes=brown; the bark of a tree/tree bark=brown
an elephant/elephants=grey; a mouse/mice=grey; a dolphin/dolphins=grey; concrete=grey; ash/ashes=grey
a rhinoceros/rhinos=grey; a rain cloud/rain clouds=grey
a flamingo/flamingos=pink; a pig/pigs=pink; bubble gum=pink
an aubergine/aubergines/an eggplant=purple; lavender=purple; a plum/plums=purple; an amethyst=purple
a violet/violets=purple
"""

NOUNS = ("the {colour} of {thing}", "the usual {colour} of {thing}", "the typical {colour} of {thing}",
         "the {colour} that {thing} has", "the natural {colour} of {thing}", "the {colour} you see on {thing}",
         "the normal {colour} for {thing}")  # fmt: skip
CLAUSES = ("what {colour} {thing} has", "which {colour} {thing} usually has", "what the {colour} of {thing} is",
           "what {colour} you see when you look at {thing}", "what {colour} describes {thing}",
           "what {colour} is {thing}",
           "which {colour} {thing} shows")  # fmt: skip
SENTENCES = lines("""
    What {colour} is {thing}?
    Which {colour} is {thing}?
    What {colour} are {thing}?
    Which {colour} does {thing} have?
    What {colour} does {thing} usually have?
    What is the {colour} of {thing}?
    {thing}: {colour}?
    {colour} of {thing}?
    {thing} {colour}
    {thing} has which {colour}?
    {thing} is of what {colour}?
    {thing} normally is
    {thing} is what {colour}?
    The {colour} of {thing} is
    The {colour} of {thing} would be?
    If you look at {thing}, which {colour} do you see?
    I am painting {thing}. What {colour} do I need?
    I want to draw {thing}. Which pencil {colour} should I pick?
    Think of {thing}. What {colour} is it?
    In which {colour} would you paint {thing}?
    Describe the {colour} of {thing}.
    Imagine {thing}. Its {colour}?
    What {colour} comes to mind for {thing}?
    Of what {colour} is {thing}?
    My child asks which {colour} {thing} has.
    Is there a typical {colour} of {thing}? Which one?
    With which {colour} do we connect {thing}?
    {thing} looks like what {colour}?
    {thing} comes in which {colour} most of the time?
    What {colour} would {thing} be?
    Which {colour} has {thing}?
""")


def fact(cell: str) -> Fact:
    """The fact of one cell of the table; the first form also goes without its article."""
    names, _, colour = cell.partition("=")
    forms = tuple(form.strip() for form in names.split("/"))
    bare = forms[0].removeprefix("a ").removeprefix("an ").removeprefix("the ")
    subject = forms[0][0].upper() + forms[0][1:]
    slots = {"thing": (*forms, forms[0], bare), "colour": ("colour", "color")}
    return Fact(slots, f"{subject} is {colour}.")


def relations() -> list[Relation]:
    """Thing to colour."""
    cells = [cell for cell in THINGS.replace("\n", ";").split(";") if cell.strip()]
    return [relation("colours.of", 7.0, [fact(cell.strip()) for cell in cells], SENTENCES, NOUNS, CLAUSES)]
