"""Number words, and units by all their names with what they are in a base unit."""

_UNITS = {
    "m": "m/1 meter/1 meters/1 metre/1 metres/1 km/1000 kilometer/1000 kilometers/1000 kilometre/1000 kilometres/1000 "
    "cm/0.01 centimeter/0.01 centimeters/0.01 centimetre/0.01 centimetres/0.01 mm/0.001 millimeter/0.001 "
    "millimeters/0.001 millimetre/0.001 millimetres/0.001",
    "mi": "mi/1 mile/1 miles/1",
    "ft": "ft/1 foot/1 feet/1",
    "in": "inch/1 inches/1",
    "g": "g/1 gram/1 grams/1 kg/1000 kilo/1000 kilos/1000 kilogram/1000 kilograms/1000 mg/0.001 milligram/0.001 "
    "milligrams/0.001",
    "t": "tonne/1 tonnes/1 ton/1 tons/1",
    "lb": "lb/1 lbs/1",
    "pound": "pound/1 pounds/1 gbp/1 \u00a3/1",
    "oz": "oz/1 ounce/1 ounces/1",
    "l": "l/1 liter/1 liters/1 litre/1 litres/1 ml/0.001 milliliter/0.001 milliliters/0.001 millilitre/0.001 "
    "millilitres/0.001",
    "\u20ac": "\u20ac/1 eur/1 euro/1 euros/1",
    "$": "$/1 usd/1 dollar/1 dollars/1",
    "\u00a5": "\u00a5/1 yen/1 jpy/1",
    "%": "%/1 percent/1",
    "s": "s/1 sec/1 secs/1 second/1 seconds/1 min/60 mins/60 minute/60 minutes/60 h/3600 hr/3600 hrs/3600 hour/3600 "
    "hours/3600 d/86400 day/86400 days/86400 wk/604800 week/604800 weeks/604800 weekday/86400 weekdays/86400",
    "mo": "mo/1 month/1 months/1 y/12 yr/12 yrs/12 year/12 years/12",
    "byte": "byte/1 bytes/1 kb/1e3 kilobyte/1e3 kilobytes/1e3 mb/1e6 megabyte/1e6 megabytes/1e6 gb/1e9 gigabyte/1e9 "
    "gigabytes/1e9 tb/1e12 terabyte/1e12 terabytes/1e12",
    "\u00b0c": "\u00b0c/1 c/1 celsius/1",
    "\u00b0f": "\u00b0f/1 f/1 fahrenheit/1",
    "kcal": "kcal/1",
}
UNITS = {
    name: (base, float(factor))
    for base, names in _UNITS.items()
    for name, factor in (each.rsplit("/", 1) for each in names.split())
}
"""The base unit of each name, and how many of it one is."""
MULTIPLIERS = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UP_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
# "one" is a pronoun more often than a number.
NUMBER_WORDS = {word: str(number) for number, word in enumerate(_UP_TO_NINETEEN.split()) if word != "one"} | {
    word: str(10 * tens) for tens, word in enumerate(_TENS.split(), 2)
}
