"""The words by which statements are told apart."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


NEGATIONS = _words(
    "no not never none nobody nothing neither nor cannot without unable except unless hardly avoid avoided",
    "nicht kein keine nie ohne pas jamais sans nunca sin",
)
CALENDAR = {
    name: names.split()[0]
    for names in (
        "monday mondays mon", "tuesday tuesdays tue tues", "wednesday wednesdays wed", "thursday thursdays thu thurs",
        "friday fridays fri", "saturday saturdays sat", "sunday sundays sun", "january jan", "february feb",
        "april apr", "june jun", "july jul", "august aug", "september sep sept", "october oct",
        "november nov", "december dec",
    )
    for name in names.split()
}  # fmt: skip
SAME_WORDS = {
    name: names.split()[0]
    for names in (
        "second ii", "third iii", "fourth iv", "refrigerator fridge", "email e-mail mail", "login sign-in signin",
        "flavour flavor taste", "colour color", "biggest largest", "delivery shipping", "luggage baggage",
        "grey gray", "centre center", "metre meter", "holiday vacation", "phone telephone", "till until",
        "monthly month", "weekly week", "yearly annually annual year", "daily day", "free gratis", "need require",
    )
    for name in names.split()
}  # fmt: skip
# They carry no weight of their own, whatever they are beside.
FUNCTION_WORDS = _words(
    "a an the this that these those it its it's he she they we you i his her their our your my there here in on at to",
    "from of for by with as if when while so and or but is are was were be been being has have had having do does did",
    "can could will would should may might must shall what which who whom how why where also then than please however",
    "about approximately roughly around circa just only simply usually normally generally typically up into onto",
    "one's per each every any some such very too because since due which's you'll you'd you've you're we'll we're",
    "they're they've it'll that's there's i'm i've let's need needs needed want within between through during",
    "get gets got receive make makes use uses using used able own own another other like namely including include",
    "that'll called known back out off over under again first next finally usual possible",
)
_PAIRS = """
    before/after above/below more/less more/fewer minimum/maximum least/most increase/decrease increases/decreases
    raise/lower rises/falls rise/fall higher/lower highest/lowest largest/smallest biggest/smallest longest/shortest
    include/exclude includes/excludes included/excluded allowed/forbidden allowed/prohibited allowed/banned
    required/optional mandatory/optional earlier/later earliest/latest left/right north/south east/west up/down
    true/false always/never enable/disable enabled/disabled enables/disables open/closed open/close opens/closes
    opened/closed buy/sell win/lose won/lost accept/reject free/paid all/none begins/ends begin/end began/ended
    start/end starts/ends started/ended add/remove adds/removes block/unblock lock/unlock install/uninstall
    activate/deactivate ascending/descending oldest/newest running/stopped cooked/uncooked cooked/raw raise/lower
    rises/lowers incoming/outgoing succeeded/preceded hot/cold warm/cold sunny/shady sun/shade summer/winter
    spring/autumn morning/evening inside/outside indoor/outdoor mutable/immutable import/export
    upload/download internal/external public/private monthly/yearly weekly/monthly daily/weekly weekly/yearly
    daily/monthly monthly/annual single/return credit/debit encrypt/decrypt on/off first/last local/remote
    safe/poisonous arrival/departure online/offline can/cannot send/receive read/write front/back top/bottom
    horizontal/vertical even/odd positive/negative acute/chronic formal/informal male/female legal/illegal
    valid/invalid client/server keep/lose pause/cancel exchanged/returned buy/rent cheapest/costliest cheap/expensive
    closest/farthest nearest/farthest fast/slow
"""


def _opposite_words() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in _PAIRS.split():
        one, other = pair.split("/")
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITE_WORDS = _opposite_words()
"""What turns the sense round where it stands in a word's place."""
