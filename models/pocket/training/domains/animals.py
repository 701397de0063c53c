"""Animals: their sounds, legs, young and homes."""

from phrasing import Fact, Relation, lines, relation

# name/plural: sound, number of legs, name of the young, home ("-" where we have none)
ANIMALS = """
cow/cows: moo, 4, calf, on a farm
dog/dogs: woof, 4, puppy, in a house
cat/cats: meow, 4, kitten, in a house
duck/ducks: quack, 2, duckling, on a pond
sheep/sheep: baa, 4, lamb, on a farm
horse/horses: neigh, 4, foal, on a farm
pig/pigs: oink, 4, piglet, on a farm
goat/goats: bleat, 4, kid, in the mountains
chicken/chickens: cluck, 2, chick, on a farm
rooster/roosters: cock-a-doodle-doo, 2, -, on a farm
lion/lions: roar, 4, cub, in the savanna
tiger/tigers: growl, 4, cub, in the jungle
bear/bears: growl, 4, cub, in the forest
wolf/wolves: howl, 4, pup, in the forest
mouse/mice: squeak, 4, pup, in a hole
snake/snakes: hiss, 0, snakelet, in the grass
bee/bees: buzz, 6, larva, in a hive
frog/frogs: croak, 4, tadpole, on a pond
owl/owls: hoot, 2, owlet, in the forest
crow/crows: caw, 2, chick, in a tree
pigeon/pigeons: coo, 2, squab, in the city
donkey/donkeys: hee-haw, 4, foal, on a farm
turkey/turkeys: gobble, 2, poult, on a farm
elephant/elephants: trumpet, 4, calf, in the savanna
goose/geese: honk, 2, gosling, on a pond
spider/spiders: -, 8, spiderling, in a web
ant/ants: -, 6, larva, in an anthill
fly/flies: buzz, 6, maggot, in a house
butterfly/butterflies: -, 6, caterpillar, on a meadow
beetle/beetles: -, 6, larva, in the forest
scorpion/scorpions: -, 8, -, in the desert
crab/crabs: -, 10, -, on the beach
octopus/octopuses: -, 8, -, in the ocean
fish/fish: -, 0, fry, in the water
shark/sharks: -, 0, pup, in the ocean
whale/whales: -, 0, calf, in the ocean
dolphin/dolphins: click, 0, calf, in the ocean
penguin/penguins: -, 2, chick, in Antarctica
polar bear/polar bears: -, 4, cub, in the Arctic
camel/camels: -, 4, calf, in the desert
giraffe/giraffes: -, 4, calf, in the savanna
zebra/zebras: -, 4, foal, in the savanna
kangaroo/kangaroos: -, 2, joey, in Australia
koala/koalas: -, 4, joey, in Australia
panda/pandas: -, 4, cub, in a bamboo forest
monkey/monkeys: -, 2, infant, in the jungle
gorilla/gorillas: -, 2, infant, in the jungle
parrot/parrots: squawk, 2, chick, in the jungle
rabbit/rabbits: -, 4, kit, in a burrow
fox/foxes: -, 4, cub, in a den
deer/deer: -, 4, fawn, in the forest
squirrel/squirrels: -, 4, kit, in a tree
swan/swans: -, 2, cygnet, on a lake
eagle/eagles: scream, 2, eaglet, in the mountains
bat/bats: -, 2, pup, in a cave
hedgehog/hedgehogs: -, 4, hoglet, in the garden
worm/worms: -, 0, -, in the soil
crocodile/crocodiles: -, 4, hatchling, in a river
hippo/hippos: -, 4, calf, in a river
seal/seals: -, 0, pup, on the coast
turtle/turtles: -, 4, hatchling, in the sea
"""

SOUND_NOUNS = ("the sound of {one}", "the sound that {one} makes", "the noise of {one}", "the noise {one} makes",
               "the call of {one}", "the sound {many} make", "the typical sound of {one}")  # fmt: skip
SOUND_CLAUSES = ("what sound {one} makes", "which sound {many} make", "what {one} says", "what noise {many} make",
                 "how {one} sounds", "what {many} say", "how {many} sound")  # fmt: skip
SOUND_SENTENCES = lines("""
    What sound does {one} make?
    What does {one} say?
    What do {many} say?
    How do {many} sound?
    How does {one} sound?
    Which noise do {many} make?
    Which sound comes from {one}?
    {one} says
    {one} makes which noise?
    What can you hear from {one}?
    {one}: what sound?
    Imitate {one}.
    Make the sound of {one}.
    If {one} speaks, what does it say?
    Sound of {one}?
    What is heard when {one} calls?
    Speak like {one}.
    In the song, {one} says what?
    I hear {one}. What does it sound like?
""")
LEG_NOUNS = ("the number of legs of {one}", "the number of legs {one} has", "the leg count of {one}",
             "the count of legs on {one}", "how many legs {one} has", "how many legs there are on {one}")  # fmt: skip
LEG_CLAUSES = ("how many legs {one} has", "how many legs {many} have", "how many legs there are on {one}",
               "on how many legs {many} walk", "what number of legs {one} has")  # fmt: skip
LEG_SENTENCES = lines("""
    How many legs does {one} have?
    How many legs do {many} have?
    How many legs has {one} got?
    {one} has how many legs?
    Legs of {one}?
    {one}: how many legs?
    What number of legs does {one} have?
    On how many legs do {many} walk?
    How many legs can you count on {one}?
    If I see {one}, how many legs do I see?
    {many} have how many legs?
    {one} walks on how many legs?
    The number of legs of {one} is
    I draw {one}. How many legs must I draw?
    How many legs are there on {one}?
    Does {one} have legs? How many?
""")
YOUNG_NOUNS = ("the name for a young {name}", "the word for a baby {name}", "the young of {one}", "the baby of {one}",
               "the name of the young of {many}", "a young {name} called", "a baby {name}",
               "the child of {one}")  # fmt: skip
YOUNG_CLAUSES = ("what a young {name} is called", "what a baby {name} is called", "how you call a young {name}",
                 "what the young of {many} are called", "which word means a baby {name}")  # fmt: skip
YOUNG_SENTENCES = lines("""
    What is a young {name} called?
    What is a baby {name} called?
    What are baby {many} called?
    What are young {many} called?
    How do you call a baby {name}?
    How is the young of {one} called?
    Which word do we use for a young {name}?
    A baby {name} is called
    A baby {name} is called what?
    A young {name} is named what?
    {one} has a baby. What is it called?
    {one} gets young. How are they called?
    What do we call the child of {one}?
    Baby of {one}?
    {name} baby name?
    When {one} is still very small, what do we call it?
    Name the young of {many}.
    What does one call the little ones of {many}?
    Mother is {one}. What is her baby?
""")
HOME_NOUNS = ("the home of {one}", "the habitat of {one}", "the habitat of {many}", "the place where {many} live",
              "the place where {one} lives", "the natural home of {many}", "where {many} live",
              "where {one} lives")  # fmt: skip
HOME_CLAUSES = ("where {one} lives", "where {many} live", "where you find {many}", "where {many} are at home",
                "where one can meet {one}", "in which place {many} live")  # fmt: skip
HOME_SENTENCES = lines("""
    Where does {one} live?
    Where do {many} live?
    Where can you find {one}?
    Where are {many} at home?
    Where is {one} at home?
    In which habitat do {many} live?
    {one} lives where?
    {one} lives
    {many} live where?
    Habitat of {one}?
    Home of {many}?
    Where should I look for {many}?
    To see {one} in the wild, where must I go?
    What is the natural place for {many}?
    I want to photograph {one}. Where do I go?
    Where in nature do we find {many}?
    Where does one meet {many}?
    What kind of place is home to {many}?
    Which place do {many} live in?
    If I look for {one}, where do I find it?
""")


def article(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def rows() -> list[tuple[dict[str, tuple[str, ...]], str, list[str]]]:
    """(slots, "A cow", [sound, legs, young, home]) of every animal."""
    table = []
    for line in lines(ANIMALS):
        names, _, values = line.partition(": ")
        name, _, plural = names.partition("/")
        one = article(name)
        slots = {"name": (name,), "one": (one, one, one, f"the {name}"), "many": (plural,)}
        table.append((slots, one[0].upper() + one[1:], values.split(", ")))
    return table


def sentence(column: int, name: str, one: str, value: str) -> str:
    """The answer for one column of the table."""
    match column:
        case 0:
            return f"{one} says {value}."
        case 1:
            return f"{one} has {value} legs."
        case 2:
            return f"A young {name} is called {article(value)}."
        case _:
            return f"{one} lives {value}."


def facts(column: int) -> list[Fact]:
    """The facts of one column, for the animals that have a value there."""
    return [
        Fact(slots, sentence(column, slots["name"][0], one, values[column]))
        for slots, one, values in rows()
        if values[column] != "-"
    ]


def relations() -> list[Relation]:
    """One relation a column of the table."""
    return [
        relation("animals.sound", 2.5, facts(0), SOUND_SENTENCES, SOUND_NOUNS, SOUND_CLAUSES),
        relation("animals.legs", 3.0, facts(1), LEG_SENTENCES, LEG_NOUNS, LEG_CLAUSES),
        relation("animals.young", 3.0, facts(2), YOUNG_SENTENCES, YOUNG_NOUNS, YOUNG_CLAUSES),
        relation("animals.home", 3.5, facts(3), HOME_SENTENCES, HOME_NOUNS, HOME_CLAUSES),
    ]
