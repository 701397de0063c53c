"""The words by which statements are told apart."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# "one" is a pronoun more often than a number.
NUMBER_WORDS = {
    "zero": "0",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "eleven": "11",
    "twelve": "12",
    "thirteen": "13",
    "fourteen": "14",
    "fifteen": "15",
    "sixteen": "16",
    "seventeen": "17",
    "eighteen": "18",
    "nineteen": "19",
    "twenty": "20",
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
}
# The names of each unit by its first one.
UNITS = {
    name: names.split()[0]
    for names in (
        "km kilometer kilometers kilometre kilometres",
        "m meter meters metre metres",
        "cm centimeter centimeters centimetre centimetres",
        "mm millimeter millimeters millimetre millimetres",
        "mi mile miles",
        "ft foot feet",
        "in inch inches",
        "kg kilo kilos kilogram kilograms",
        "g gram grams",
        "lb lbs pound pounds",
        "l liter liters litre litres",
        "ml milliliter milliliters millilitre millilitres",
        "€ eur euro euros",
        "$ usd dollar dollars",
        "£ gbp",
        "% percent",
        "s sec secs second seconds",
        "min mins minute minutes",
        "h hr hrs hour hours",
        "d day days",
        "wk week weeks",
        "mo month months",
        "y yr yrs year years",
        "kb kilobyte kilobytes",
        "mb megabyte megabytes",
        "gb gigabyte gigabytes",
        "tb terabyte terabytes",
        "c °c celsius",
        "f °f fahrenheit",
        "thousand",
        "million",
        "billion",
        "am",
        "pm",
    )
    for name in names.split()
}
NEGATIONS = _words(
    "no not never none nobody nothing neither nor cannot without unable except unless hardly",
    "nicht kein keine nie ohne pas jamais sans nunca sin",
)
# Another of them turns the sense round.
OPPOSITES = _words(
    "before after above below more less fewer over under minimum maximum least most increase decrease increases",
    "decreases higher lower rise fall include includes exclude excludes included excluded allowed forbidden prohibited",
    "required optional mandatory first last earlier later left right north south east west up down true false always",
    "enable disable enabled disabled open closed buy sell win won lose lost accept reject free paid only both all some",
)
FUNCTION_WORDS = _words(
    "a an the this that these those it its he she they we you i his her their our your my there here in on at to from",
    "of for by with as if when while so and or but yes no is are was were be been has have had do does did can could",
    "will would should may might must what which who how why where also then than not please sure note however",
)
