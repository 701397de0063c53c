"""Words of a prompt that decide one kind of thing, and words that exclude each other."""

from collections import Counter

_FUNCTION_WORDS = """
    2 4 a about actually afternoon also am an and any anybody anyone are aren't as at be been being but by
    can can't cant could couldn't dear did didn't do does doesn't doing don't done dont down evening
    everyone for from get give good got had has have having he hello help here here's hey hi hiya how i
    i'd i'll i'm i've id if im in into is isn't it it's its ive just kindly know let like madam may me
    might mine morning must my need no not of off on one ones or our out over per please pls plz question
    quick r really shall she should show sir so some somebody someone tell than thank thanks that that's
    the their them them's then there there's these they thing this those to too u up ur us very via vs
    want was way we we're we've were what what's whats when where which who who's whom why will with won't
    wondering would wouldn't you your yours
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Of little weight in themselves."""

_GROUPS = {
    "negation": """
        anything aren't avoid but can't cannot cant couldn't didn't doesn't doesnt don't dont except
        exclude excluding free hasn't haven't instead isn't isnt lacking lacks minus missing n't
        neither never no nobody non none nor not nothing nowhere shouldn't skip stop un unless wasn't
        without won't wont wouldn't
    """,
    "from": """
        depart departing export from leave leaving of off out outbound outgoing sender source withdraw
    """,
    "to": """
        arrive arriving deposit destination import inbound incoming into onto recipient target to
        toward towards
    """,
    "before": """
        ago ahead before beforehand earlier former formerly last old past pre previous previously
        prior till until yesterday
    """,
    "after": """
        after afterwards current currently following future later new next now post since subsequent
        then tomorrow upcoming
    """,
    "quantity": """
        all any anything both each either entire every everything just most one only single some total
        whole
    """,
    "more": """
        above bigger biggest exceed greater greatest higher highest increase larger largest latest
        least longer longest max maximum more most over raise up upper
    """,
    "less": """
        below cheapest decrease earliest fewer fewest less lower lowest min minimum reduce shorter
        shortest smaller smallest under
    """,
    "still": """
        again already anymore ever longer still yet
    """,
    "how": """
        how
    """,
    "why": """
        because cause reason why
    """,
    "when": """
        date day deadline hour till time until when
    """,
    "where": """
        find location menu place where which
    """,
    "who": """
        people person who whom whose
    """,
    "count": """
        amount count how many much number sum total
    """,
    "cost": """
        charge charges cheap cost costs dollars euros expensive fee much pay pounds price pricing rate
    """,
    "form": """
        brief bullet bullet-point bulleted bullets code csv detailed email essay excel formal haiku
        headline html informal json letter line lines list long markdown numbered one-liner paragraph
        pdf plain poem points prose regex rhyme sentence sentences short snippet sql step steps
        summary table text title tweet word words xml yaml
    """,
    "language": """
        arabic bash c# c++ chinese czech danish deutsch dutch english espanol finnish francais french
        german go golang greek hindi hungarian italian japanese java javascript korean kotlin latin
        norwegian perl php polish portuguese powershell python r ruby russian rust spanish sql swedish
        swift turkish typescript
    """,
    "unit": """
        % annual annually bit bits byte bytes c celsius cm cup cups daily day days dollar dollars eur
        euro euros f fahrenheit feet foot ft g gallon gallons gb gbp gram grams hour hours inch inches
        kb kelvin kg kilo kilogram kilograms kilometer kilometers kilometre kilometres kilos km l lb
        lbs liter liters litre litres m mb meter meters metre metres mi mile miles min minute minutes
        ml mm month monthly months ounce ounces oz percent pound pounds sec second seconds tb usd week
        weekly weeks yard yards year yearly years yen
    """,
    "calendar": """
        apr april aug august autumn dec december evening fall feb february fri friday jan january jul
        july jun june mar march may midnight mon monday morning noon nov november oct october sat
        saturday sep sept september spring summer sun sunday thu thursday today tomorrow tonight tue
        tuesday wed wednesday weekday weekdays weekend weekends winter yesterday
    """,
    "person": """
        adult adults boss buyer child children colleague customer dad daughter employee employer
        father friend her his husband kid kids landlord mother mum my myself neighbour our owner
        parent parents partner seller senior son student teacher tenant their wife your
    """,
    "state": """
        blocked broken cancelled closed cracked damaged delayed early expired forgotten found frozen
        invalid late locked lost missing new open opened paid stolen unpaid used valid
    """,
}
GROUP_NAMES = tuple(_GROUPS)
"""Of groups of words that decide the same kind of thing."""


def _group_counts() -> dict[str, int]:
    counts: Counter[str] = Counter()
    for number, words in enumerate(_GROUPS.values()):
        for word in set(words.split()):
            counts[word] += 1 << (8 * number)
    return dict(counts)


GROUP_COUNTS = _group_counts()
"""One for each group that a word is of, in a byte for each group: sums of these count all groups at once."""


def counts_by_group(summed: int) -> bytes:
    """How many of each group, of a sum of `GROUP_COUNTS` over fewer than 256 words."""
    return summed.to_bytes(len(GROUP_NAMES), "little")


_OPPOSITES = """
    on/off in/out add/remove add/delete install/uninstall enable/disable activate/deactivate open/close
    opened/closed start/stop start/end begin/end buy/sell bought/sold increase/decrease raise/lower
    up/down first/last first/second before/after from/to send/receive import/export upload/download
    lock/unlock block/unblock login/logout sign/resign freeze/unfreeze pause/resume connect/disconnect
    mount/unmount encrypt/decrypt compress/decompress zip/unzip ascending/descending oldest/newest old/new
    earliest/latest max/min maximum/minimum highest/lowest largest/smallest longest/shortest
    biggest/smallest more/less more/fewer most/least above/below over/under with/without all/any all/some
    every/some always/never include/exclude including/excluding include/except inside/outside
    indoor/outdoor hot/cold warm/cold summer/winter day/night morning/evening am/pm left/right top/bottom
    front/back north/south east/west male/female man/woman men/women boy/girl husband/wife mother/father
    mum/dad son/daughter brother/sister adult/child adults/children teacher/student buyer/seller
    landlord/tenant employer/employee lender/borrower sender/recipient parent/child public/private
    free/paid lost/found lost/stolen lost/damaged forgotten/change forgot/change single/return
    single/double debit/credit monthly/yearly monthly/annual month/year week/month day/week hour/day
    daily/weekly minute/hour minutes/hours days/weeks months/years domestic/international
    personal/business win/lose winner/loser success/failure pass/fail accept/reject accept/decline
    approve/deny show/hide push/pull merge/rebase commit/revert join/split read/write encode/decode
    serialize/deserialize client/server input/output source/target row/column rows/columns singular/plural
    formal/informal short/long wet/dry raw/cooked fresh/frozen sweet/savoury white/red black/white
    black/green entry/exit entrance/exit arrival/departure arrive/depart arrivals/departures
    check-in/check-out checkin/checkout pick/drop deposit/withdraw deposit/withdrawal lend/borrow rent/buy
    hire/rent gain/lose save/spend income/expense gross/net asset/liability profit/loss rise/fall
    sunrise/sunset high/low heavy/light hard/soft thick/thin deep/shallow wide/narrow fast/slow even/odd
    odd/even positive/negative true/false yes/no valid/invalid legal/illegal can/must may/must
    former/current previous/next last/next yesterday/tomorrow past/future gas/electric petrol/diesel
    petrol/electric manual/automatic cash/card email/post online/offline prefix/suffix inner/outer
    left/inner ceil/floor local/remote local/global static/dynamic shallow/deep sync/async tcp/udp
    http/https ipv4/ipv6 celsius/fahrenheit km/miles kilometres/miles kg/pounds kilos/pounds
    litres/gallons inches/centimetres cm/inches grams/ounces euros/dollars eur/usd mb/gb kb/mb json/csv
    json/yaml json/xml table/list list/count english/french french/german german/spanish french/spanish
    english/german renew/cancel cancel/postpone postpone/cancel upgrade/downgrade register/unregister
    subscribe/unsubscribe follow/unfollow mute/unmute archive/delete copy/move lend/return repair/replace
    refund/exchange refund/replacement born/died birth/death married/divorced hire/fire hired/fired
    attack/defend plaintiff/defendant benign/malignant acute/chronic type1/type2 systolic/diastolic
    artery/vein still/already still/anymore only/also least/most and/or both/either not/only
"""


def _opposites() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in _OPPOSITES.split():
        one, other = pair.split("/")
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITES = _opposites()
"""What says something else than a word where it stands in its place."""
