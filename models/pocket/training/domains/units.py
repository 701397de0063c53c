"""Units: how many of the smaller make the larger, and conversions both ways.

Only multiples of powers of ten are held out: 7 hours in minutes is a fact to learn, while
17 km in metres follows from the others.
"""

from random import Random

from phrasing import Fact, Relation, lines, relation

SPLIT_SEED = 20_241
HELD_OUT_SHARE = 0.1
LARGEST_DECIMAL_COUNT = 30
LARGEST_OTHER_COUNT = 10
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

# larger unit < smaller unit * factor; every unit as singular/plural[/other forms], answers use the first two
CONVERSIONS = """
kilometre/kilometres/km/kilometers < metre/metres/m/meters * 1000
metre/metres/m/meters < centimetre/centimetres/cm/centimeters * 100
centimetre/centimetres/cm/centimeters < millimetre/millimetres/mm/millimeters * 10
metre/metres/m/meters < millimetre/millimetres/mm/millimeters * 1000
kilogram/kilograms/kg/kilos < gram/grams/g * 1000
gram/grams/g < milligram/milligrams/mg * 1000
tonne/tonnes/t/tons < kilogram/kilograms/kg/kilos * 1000
litre/litres/l/liters < millilitre/millilitres/ml/milliliters * 1000
hour/hours/h < minute/minutes/min * 60
minute/minutes/min < second/seconds/s * 60
day/days < hour/hours/h * 24
week/weeks < day/days * 7
year/years < month/months * 12
decade/decades < year/years * 10
century/centuries < year/years * 100
millennium/millennia < year/years * 1000
foot/feet/ft < inch/inches/in * 12
yard/yards < foot/feet/ft * 3
euro/euros < cent/cents * 100
dollar/dollars < cent/cents * 100
kilowatt/kilowatts/kw < watt/watts/w * 1000
dozen/dozens < piece/pieces * 12
"""

NOUNS = ("{quantity} in {target}", "{quantity} converted to {target}", "the number of {target} in {quantity}",
         "{quantity} expressed as {target}", "the value of {quantity} in {target}", "{quantity} as {target}",
         "the amount of {target} in {quantity}", "{quantity} given in {target}")  # fmt: skip
CLAUSES = ("how many {target} are in {quantity}", "how many {target} there are in {quantity}",
           "how many {target} {quantity} has",
           "how much {quantity} is in {target}", "how many {target} make {quantity}",
           "how many {target} {quantity} are",
           "what {quantity} is in {target}")  # fmt: skip
SENTENCES = lines("""
    How many {target} are in {quantity}?
    How many {target} are there in {quantity}?
    How many {target} make {quantity}?
    How many {target} does {quantity} have?
    How many {target} is {quantity}?
    How many {target} are {quantity}?
    How many {target} go into {quantity}?
    How many {target} fit into {quantity}?
    How much is {quantity} in {target}?
    {quantity} in {target}
    {quantity} in {target}?
    {quantity} to {target}
    {quantity} = ? {target}
    {quantity} is how many {target}?
    {quantity} are how many {target}?
    {quantity} has how many {target}?
    {quantity} equals how many {target}?
    {quantity} makes how many {target}?
    Convert {quantity} to {target}.
    Convert {quantity} into {target}.
    Change {quantity} to {target}.
    Express {quantity} in {target}.
    Write {quantity} in {target}.
    Transform {quantity} into {target}.
    I have {quantity}. How many {target} is that?
    Take {quantity}. What is it in {target}?
    In {target}, how much is {quantity}?
    If something measures {quantity}, how many {target} is it?
    It lasts {quantity}. How many {target} is it?
    Unit conversion: {quantity} to {target}
    {target} in {quantity}?
    {target} per {quantity}?
    Calculate {quantity} in {target}.
    {quantity} corresponds to how many {target}?
    For {quantity}, give the {target}.
    {quantity} would be what in {target}?
    Please count the {target} in {quantity}.
""")

Unit = tuple[str, ...]


def name(count: int, unit: Unit) -> str:
    """The quantity as answers say it: "1 kilometre", "5 kilometres"."""
    return f"{count} {unit[0] if count == 1 else unit[1]}"


def article(unit: Unit) -> str:
    """The indefinite article by sound."""
    return "an" if unit[0] in {"hour", "inch"} else "a"


def quantities(count: int, unit: Unit) -> tuple[str, ...]:
    """Ways to write a quantity; a single unit is mostly named by its article."""
    forms = [name(count, unit), f"{count} {unit[-1]}"] + [f"{count} {form}" for form in unit[2:]]
    forms += [f"{count}{form}" for form in unit[2:] if len(form) <= 2]
    if count < len(WORDS):
        forms += [f"{WORDS[count]} {unit[0] if count == 1 else unit[1]}"]
    if count == 1:
        forms += [f"{article(unit)} {unit[0]}"] * 3
        forms += [f"{article(unit)} {form[:-1]}" for form in unit[2:] if len(form) > 5]
    return tuple(forms)


def fact(given: tuple[int, Unit], wanted: tuple[int, Unit], is_held_out: bool) -> Fact:
    """The fact that a quantity equals one in another unit."""
    slots = {"quantity": quantities(*given), "target": (wanted[1][1], wanted[1][1], *wanted[1][1:])}
    return Fact(slots, f"{name(*given)} = {name(*wanted)}.", is_held_out)


def conversions() -> list[tuple[Unit, Unit, int]]:
    """(larger unit, smaller unit, factor) of the table."""
    table = []
    for line in lines(CONVERSIONS):
        larger, _, rest = line.partition(" < ")
        smaller, _, factor = rest.partition(" * ")
        table.append((tuple(larger.split("/")), tuple(smaller.split("/")), int(factor)))
    return table


def multiples() -> tuple[list[Fact], list[Fact], list[Fact]]:
    """Facts of one larger unit, of several, and of smaller units turned into larger ones."""
    rng = Random(SPLIT_SEED)
    single, down, up = [], [], []
    for larger, smaller, factor in conversions():
        is_decimal = factor in {10, 100, 1000}
        single.append(fact((1, larger), (factor, smaller), False))
        for count in range(1, (LARGEST_DECIMAL_COUNT if is_decimal else LARGEST_OTHER_COUNT) + 1):
            is_held_out = is_decimal and count > 1 and rng.random() < HELD_OUT_SHARE
            up.append(fact((count * factor, smaller), (count, larger), is_held_out))
            if count > 1:
                down.append(fact((count, larger), (count * factor, smaller), is_held_out))
    return single, down, up


def relations() -> list[Relation]:
    """One of the larger unit, several of it, and the way back."""
    single, down, up = multiples()
    return [
        relation("units.single", 2.5, single, SENTENCES, NOUNS, CLAUSES),
        relation("units.down", 4.0, down, SENTENCES, NOUNS, CLAUSES),
        relation("units.up", 2.5, up, SENTENCES, NOUNS, CLAUSES),
    ]
