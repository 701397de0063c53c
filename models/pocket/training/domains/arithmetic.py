"""Addition and subtraction up to 99, times tables up to 12 and the divisions that come out even.

Operand pairs are held out for all four operations. For times tables the pair with its operands
swapped stays in training: a table cannot be extrapolated, but it can be known from one side.
"""

from collections.abc import Iterable
from random import Random

from phrasing import Fact, Relation, lines, relation

SPLIT_SEED = 20_240
HELD_OUT_SHARE = 0.1
LARGEST_TERM = 99
LARGEST_FACTOR = 12
WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip

ADD_NOUNS = ("{a} plus {b}", "{a} + {b}", "{a}+{b}", "the sum of {a} and {b}", "{a} and {b} added together",
             "{a} and {b} together", "the total of {a} and {b}", "the result of {a} + {b}", "{b} more than {a}",
             "{a} added to {b}")  # fmt: skip
ADD_CLAUSES = ("how much {a} plus {b} is", "how much is {a} + {b}", "how much {a} and {b} are",
               "what {a} plus {b} makes", "how many {a} and {b} are together", "what you get if you add {a} and {b}",
               "what {a}+{b} equals", "what the sum of {a} and {b} is")  # fmt: skip
ADD_SENTENCES = lines("""
    How much is {a} plus {b}?
    How much is {a} + {b}?
    {a} + {b} = ?
    {a}+{b}=
    {a} + {b}
    {a} plus {b} equals
    {a} plus {b} makes
    Add {a} and {b}.
    Add {a} to {b}.
    Compute {a} + {b}.
    Calculate {a} plus {b}.
    Solve {a} + {b}.
    Sum {a} and {b}.
    Sum up {a} and {b}.
    What does {a} plus {b} make?
    What do {a} and {b} add up to?
    What do you get from {a} + {b}?
    If I add {a} and {b}, what is the result?
    When {b} is added to {a}, what comes out?
    How many are {a} and {b}?
    Find the sum: {a} + {b}
    I have {a} apples and get {b} more. How many do I have?
    There are {a} red balls and {b} blue balls. How many balls are there?
    She owns {a} coins, he owns {b} coins. How many coins do they have?
    Take {a}, add {b}, and tell me the total.
    Start with {a} and go up by {b}. Where are you?
    Math: {a} + {b}
    Count {a} and {b} together.
    Increase {a} by {b}.
    What number is {a} plus {b}?
    What is {b} on top of {a}?
    {a} and {b} makes how much?
    Putting {a} and {b} together gives what number?
    Result of {a} plus {b}?
    To {a} we add {b}; what is the sum?
    Adding {a} and {b} results in
""")
SUB_NOUNS = ("{a} minus {b}", "{a} - {b}", "{a}-{b}", "{a} less {b}", "the difference of {a} and {b}",
             "the difference between {a} and {b}", "the result of {a} - {b}", "{b} less than {a}",
             "{a} reduced by {b}", "{b} subtracted from {a}")  # fmt: skip
SUB_CLAUSES = ("how much {a} minus {b} is", "how much is {a} - {b}", "what {a} minus {b} makes",
               "what remains if you take {b} from {a}", "what is left when {b} is taken from {a}",
               "what {a}-{b} equals", "what the difference of {a} and {b} is")  # fmt: skip
SUB_SENTENCES = lines("""
    How much is {a} minus {b}?
    How much is {a} - {b}?
    {a} - {b} = ?
    {a}-{b}=
    {a} - {b}
    {a} minus {b} equals
    {a} minus {b} makes
    Subtract {b} from {a}.
    Take {b} from {a}.
    Take {b} away from {a}.
    From {a} take {b}.
    Compute {a} - {b}.
    Calculate {a} minus {b}.
    Solve {a} - {b}.
    What does {a} minus {b} make?
    What do you get from {a} - {b}?
    If I subtract {b} from {a}, what is the result?
    When {b} is removed from {a}, what stays?
    How many are {a} without {b}?
    Find the difference: {a} - {b}
    I have {a} apples and eat {b}. How many remain?
    There were {a} birds and {b} flew off. How many stay?
    He had {a} coins and spent {b}. How many coins has he now?
    Take {a}, remove {b}, and tell me the rest.
    Start with {a} and go down by {b}. Where are you?
    Math: {a} - {b}
    Decrease {a} by {b}.
    Reduce {a} by {b}.
    What number is {a} minus {b}?
    Result of {a} minus {b}?
    Remove {b} from {a}. What do you have then?
    {b} taken away from {a} leaves what?
    Of {a} cookies {b} are gone. How many are still there?
    How far is it from {b} to {a}?
    By how much is {a} larger than {b}?
    Subtracting {b} from {a} results in
""")
MUL_NOUNS = ("{a} times {b}", "{a} * {b}", "{a}*{b}", "{a} x {b}", "{a}x{b}", "{a} multiplied by {b}",
             "the product of {a} and {b}", "the result of {a} * {b}", "{a} groups of {b}",
             "{a} by {b} multiplied")  # fmt: skip
MUL_CLAUSES = ("how much {a} times {b} is", "how much is {a} * {b}", "what {a} times {b} makes",
               "what you get if you multiply {a} by {b}", "what {a}x{b} equals", "how much {a} multiplied by {b} is",
               "what the product of {a} and {b} is")  # fmt: skip
MUL_SENTENCES = lines("""
    How much is {a} times {b}?
    How much is {a} * {b}?
    {a} * {b} = ?
    {a}*{b}=
    {a} x {b} = ?
    {a} x {b}
    {a} times {b} equals
    {a} times {b} makes
    Multiply {a} by {b}.
    Multiply {a} and {b}.
    Multiply {a} with {b}.
    Compute {a} * {b}.
    Calculate {a} times {b}.
    Solve {a} x {b}.
    What does {a} times {b} make?
    What do you get from {a} * {b}?
    If I multiply {a} by {b}, what is the result?
    When {a} is multiplied by {b}, what comes out?
    Find the product: {a} * {b}
    I buy {a} boxes with {b} eggs each. How many eggs do I have?
    There are {a} rows of {b} chairs. How many chairs are there?
    Each of {a} children gets {b} sweets. How many sweets is that?
    Take {a}, multiply it by {b}, and tell me the product.
    Math: {a} * {b}
    What number is {a} times {b}?
    Result of {a} times {b}?
    {a} multiplied with {b} gives what number?
    {a} bags hold {b} balls each. How many balls?
    Multiplying {a} by {b} results in
    In the times table, what is {a} times {b}?
""")
DIV_NOUNS = ("{a} divided by {b}", "{a} / {b}", "{a}/{b}", "{a} : {b}", "the quotient of {a} and {b}",
             "the result of {a} / {b}", "{a} over {b}", "{a} split by {b}")  # fmt: skip
DIV_CLAUSES = ("how much {a} divided by {b} is", "how much is {a} / {b}", "what {a} divided by {b} makes",
               "what you get when dividing {a} by {b}", "what {a}/{b} equals", "how often {b} goes into {a}",
               "what the quotient of {a} and {b} is")  # fmt: skip
DIV_SENTENCES = lines("""
    How much is {a} / {b}?
    {a} / {b} = ?
    {a}/{b}=
    {a} / {b}
    {a} divided by {b} equals
    {a} divided by {b} makes
    Divide {a} by {b}.
    Compute {a} / {b}.
    Calculate {a} divided by {b}.
    Solve {a} / {b}.
    What does {a} divided by {b} make?
    What do you get from {a} / {b}?
    If I divide {a} by {b}, what is the result?
    When {a} is divided by {b}, what comes out?
    Find the quotient: {a} / {b}
    Share {a} sweets among {b} children. How many does each get?
    {a} chairs stand in {b} equal rows. How many are in a row?
    How many times does {b} go into {a}?
    Split {a} into {b} equal parts. How big is a part?
    Take {a}, divide it by {b}, and tell me the quotient.
    Math: {a} / {b}
    What number is {a} divided by {b}?
    Result of {a} divided by {b}?
    {a} split into {b} parts gives what number?
    {b} friends share {a} coins fairly. What does one get?
    Dividing {a} by {b} results in
""")


def spellings(number: int) -> tuple[str, ...]:
    """Digits always; for small numbers also the word, a quarter of the time."""
    digits = str(number)
    return (digits, digits, digits, WORDS[number]) if number < len(WORDS) else (digits,)


def facts(sign: str, operands: Iterable[tuple[int, int, int]], rng: Random) -> list[Fact]:
    """Facts of (a, b, result), a tenth of them held out."""
    return [
        Fact(
            {"a": spellings(a), "b": spellings(b)},
            f"{a} {sign} {b} = {result}.",
            rng.random() < HELD_OUT_SHARE,
        )
        for a, b, result in operands
    ]


def table_facts(sign: str, rng: Random) -> list[Fact]:
    """Times tables (or their divisions): a held-out pair is never held out on both sides."""
    kept = []
    for a in range(1, LARGEST_FACTOR + 1):
        for b in range(1, LARGEST_FACTOR + 1):
            is_held_out = a < b and rng.random() < HELD_OUT_SHARE * 2
            first, second, result = (a, b, a * b) if sign == "*" else (a * b, a, b)
            slots = {"a": spellings(first), "b": spellings(second)}
            kept.append(Fact(slots, f"{first} {sign} {second} = {result}.", is_held_out))
    return kept


def relations() -> list[Relation]:
    """One relation an operation."""
    rng = Random(SPLIT_SEED)
    terms = range(LARGEST_TERM + 1)
    sums = facts("+", ((a, b, a + b) for a in terms for b in terms), rng)
    differences = facts("-", ((a, b, a - b) for a in terms for b in range(a + 1)), rng)
    return [
        relation("arithmetic.add", 15.0, sums, ADD_SENTENCES, ADD_NOUNS, ADD_CLAUSES),
        relation("arithmetic.subtract", 13.0, differences, SUB_SENTENCES, SUB_NOUNS, SUB_CLAUSES),
        relation("arithmetic.multiply", 6.0, table_facts("*", rng), MUL_SENTENCES, MUL_NOUNS, MUL_CLAUSES),
        relation("arithmetic.divide", 6.0, table_facts("/", rng), DIV_SENTENCES, DIV_NOUNS, DIV_CLAUSES),
    ]
