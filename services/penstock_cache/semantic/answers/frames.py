"""What models put around an answer: "Sure!", "In short:", "I hope this helps."."""

import re

# What may stand before the answer, up to its mark; several may follow each other.
_PREFACE = re.compile(
    r"^(?:(?:(?:yes|oh|hi|hello|hey)\b,?\s*)?"
    r"(?:sure(?: thing)?|of course|certainly|absolutely|definitely|gladly|great|(?:that's a )?(?:good|great) question|"
    r"thanks(?: you)? for \w+(?: \w+){0,3}|(?:i'm |i am )?happy to help|no problem|you're welcome|"
    r"(?:i'm |i am )?(?:so |very )?sorry(?: to hear (?:that|this))?|i understand|hello|hi there|hi|"
    r"claro(?: que s\u00ed)?|por supuesto|bien s\u00fbr|nat\u00fcrlich|gerne|klar)\s*[!.,:-]+\s*"
    r"|(?:in short|in brief|briefly|simply put|put simply|to put it simply|in summary|to summari[sz]e|in other words|"
    r"short answer|answer|corrected|(?:the )?answer|result)\s*[:,]\s*"
    r"|(?:so,? )?(?:the (?:correct |short )?answer|the result|the solution|that(?: would be|'s)?) is:?\s+"
    r"|that would be\s+"
    r"|(?:here(?:'s|'re| is| are| you go)|please find|you can use|please do the following|try the following|as follows)"
    r"\b[^:.!?]{0,48}:\s*"
    r"|please note that\s+|note that\s+)+",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"^(?:"
    r"(?:i |we )?(?:really )?hope (?:this|that|it|these)\b.*|hoping .*|"
    r"(?:please |just |and |but )?(?:let me know|feel free|don't hesitate|do not hesitate)\b.*|"
    r"if you (?:have|need|want|would like|'d like)\b.*(?:questions?|help|assistance|let me know|just ask|feel free).*|"
    r"(?:would you like|do you want|do you need|shall i|should i|can i help|is there anything|anything else)\b.*\?|"
    r"(?:thanks|thank you|cheers|good luck|have fun|have an? (?:nice|great|good|safe|lovely|wonderful)|safe travels|"
    r"best regards|kind regards|looking forward|(?:that's a )?(?:good|great) question|"
    r"\u00a1?que tenga|viel erfolg|gerne|bonne)\b[^.;!?]*[.!]?|"
    r"(?:enjoy(?: (?:your|the) \w+)?|happy \w+ing)[.!]?|"
    r"(?:i'm |i am |we're )?(?:very |so )?sorry(?: (?:to|for)\b[^.;!?,]*|,? you're not [^.;!?,]*)?[.!]?|"
    r"(?:i'm |i am )?(?:happy|glad) to (?:help|assist)\b.*|"
    r"(?:sure|of course|certainly|absolutely|great|gladly|no problem)(?:,? [^.!?]{0,40})?[!:]|"
    r"(?:here(?:'s|'re| is| are)|please do|you can use|try)\b[^:]{0,60}:|here you go[:.!]"
    r")$",
    re.IGNORECASE,
)


def is_courtesy(sentence: str) -> bool:
    """Whether a sentence says nothing of the matter."""
    return bool(_COURTESY.match(sentence.strip()))


def without_preface(sentence: str) -> str:
    """A sentence without what only leads up to it."""
    return _PREFACE.sub("", sentence.strip(), count=1)
