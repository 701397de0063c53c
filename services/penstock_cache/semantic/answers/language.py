"""In which language an answer is, by its commonest words."""

import re
from collections import Counter

_WORD = re.compile(r"[^\W\d_]+")
_COMMON = {
    "en": "the is are of and to in that it for with you on be can this not your an from or by at as have",
    "es": "el la los las de del que y en un una es por para con no se su al lo como pero est\u00e1 son",
    "fr": "le la les des du de et est un une que qui dans pour avec ne pas sur au aux ce cette vous sont en",
    "de": "der die das und ist ein eine einen nicht mit von zu im den dem auf f\u00fcr sie es sich wird sind bei",
    "pt": "o os as do da dos das que e em um uma n\u00e3o por para com \u00e9 se no na mais como ao est\u00e1",
    "it": "il lo gli di che e un una \u00e8 per con non del della dei sono nel alla pi\u00f9 da si",
}
_LANGUAGES = {
    word: [name for name in _COMMON if word in _COMMON[name].split()]
    for words in _COMMON.values()
    for word in words.split()
}
_ENOUGH = 2


def language_of(text: str) -> str:
    """The code of the language; empty where too few common words say so."""
    counts: Counter[str] = Counter()
    for word in _WORD.findall(text.lower()):
        counts.update(_LANGUAGES.get(word, ()))
    if not counts:
        return ""
    (best, num), *others = counts.most_common(2)
    is_clear = num >= _ENOUGH and (not others or others[0][1] < num)
    return best if is_clear else ""
