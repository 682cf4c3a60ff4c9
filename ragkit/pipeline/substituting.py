"""What a fragment puts in the place of its like in an earlier question.

After "How much is a tyre change for the van?", "And for the truck?" asks how much a tyre change for
the truck is. What is alike is told by shape (a time, a place in an order, an identifier), which
needs no grammar and holds in each language with cues, or in English by a preposition or noun.
"""

from __future__ import annotations

import re

_MONTHS = (
    r"jan(?:uary|uar)|february?|march|april|may|june|july|august|september|o[ck]tober|november"
    r"|de[cz]ember|januar|märz|mai|juni|juli|janvier|février|mars|avril|juin|juillet|août|septembre"
    r"|octobre|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre"
    r"|octubre|noviembre|diciembre"
)
_DAYS = (
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|(?:mon|diens|donners|frei|sams|sonn)tag(?:e?s|en)?"
    r"|mittwochs?|(?:lun|mar|mercre|jeu|vendre|same)dis?|dimanches?|lunes|martes|miércoles|jueves"
    r"|viernes|sábados?|domingos?|week-?ends?|weekdays?|wochenenden?|fin(?:es)? de semana"
    r"|(?:(?:public|bank|school|summer) )?holidays?|feiertage?n?|festivos?|(?:jours )?fériés?"
)
_TIMES = (
    rf"(?:(?:early|late|high|the|le|la|los|el) ){{0,2}}(?:{_MONTHS}|{_DAYS}|spring|summer|autumn"
    r"|winters?|sommers?|frühling|herbst|hiver|été|automne|printemps|invierno|verano|otoño"
    r"|primavera|christmas(?: eve| day)?|new year(?:'s (?:eve|day))?|easter(?: (?:monday|sunday))?"
    r"|weihnachten|heiligabend|silvester|ostern|noël|pâques|navidad|mornings?|afternoons?|evenings?"
    r"|nights?|noon|midnight|today|tomorrow|morgens|abends|mittags|nachts|[12]\d{3})"
)
_IDENTIFIER = (
    r"(?<!\w)(?:_{0,2}[^\W_]{1,40}+_\w{1,60}+|\w{1,40}+(?:\.[^\W\d]\w{0,40}+){1,6}+"
    r"|[a-z]{1,30}+\d{0,4}+[A-Z]\w{0,40}+|[A-Z][a-z]{1,30}+[A-Z]\w{0,40}+)"
)
"""A name of a program: `max_connections`, `pg.Pool`, `bodyLimit`."""

NAMED = re.compile(
    r"(?<=[\w,;:)] )[A-ZÄÖÜÉ][\w'-]{1,30}(?: [A-ZÄÖÜÉ][\w'-]{1,30}){0,3}"
    r"|\A[A-ZÄÖÜÉ][\w'-]{1,30}(?: [A-ZÄÖÜÉ][\w'-]{1,30}){1,3}"
    rf"|{_IDENTIFIER}"
)
"""What has a name of its own, in the middle of a text or of several words."""

NO_NAME = re.compile(rf"(?:{_MONTHS}|{_DAYS}|ok(?:ay)?|i(?:'\w{{1,4}})?)", re.IGNORECASE)
"""What has a capital letter, and is no name of anything that is asked about."""

_SHAPES = tuple(
    re.compile(rf"(?<![\w'-])(?:{shape})(?![\w'-])", flags)
    for shape, flags in (
        (_TIMES, re.IGNORECASE),
        (r"first|last|next|previous|earliest|latest|second|third", re.IGNORECASE),
        (rf"{_IDENTIFIER}|--?[a-zA-Z][\w-]{{0,40}}", 0),
        (r"\d{1,12}(?:[.,]\d{1,12})?(?: ?%| [a-z]{3,12})?", re.IGNORECASE),
    )
)
"""Times, places in an order, identifiers, and numbers with what they count."""

_ONE_AFTER = re.compile(r"(?: (?:one|ones|ein[es]?|eine[nrs]?))?\Z", re.IGNORECASE)
_LEADS = re.compile(
    r"\W{0,3}(?:(?:and|or|but|also|then|ok(?:ay)?|so|und|oder|aber|auch|et|ou|mais|aussi|y|o|pero"
    r"|también|e|en|no|nope|nein|non|sorry|what about|how about|was ist mit|wie ist es mit|qu'en"
    r" est-il de|qué tal|same for|i mean|i meant|ich meine|ich meinte|je veux dire|quiero decir)"
    r"\b[\s,.:]{1,3}){1,3}",
    re.IGNORECASE,
)
_PREPOSITIONS = r"for|in|on|at|to|from|with|without|by|during|about|of"
_BEFORE = re.compile(
    rf"(?:{_PREPOSITIONS}|für|im|am|an|ab|bei|mit|zu|nach|von|pour|en|le|la|les|à|de|para|por|los|el"
    r"|the|a|an|my|our|your|der|die|das|den|dem) ",
    re.IGNORECASE,
)
_TAIL = re.compile(r",? (?:then|though|please|again|instead)\Z", re.IGNORECASE)
_LONGEST_FRAGMENT = 80
"""Characters."""

_INSTEAD = re.compile(
    rf"(?:(?P<preposition>{_PREPOSITIONS}) )?"
    r"(?P<name>(?:the |a |an |my |our |your )?[\w'-]{2,30}(?: [\w'-]{2,30}){0,3})\W{0,5}\Z",
    re.IGNORECASE,
)
_POINTS = re.compile(
    r"\b(?:other|others|rest|ones?|same|all|both|two|three|them|him|her|it|its|his|their|these|those"
    r"|that|this|there|then|else|more|less|now|not|why|when|where|how|who|what|which|if)\b",
    re.IGNORECASE,
)
"""Words of what only points at something: its name is not in the fragment."""

_ASKS_FOR = re.compile(
    r"(?P<frame>(?:how (?:much|many|long|often|far|big|old|late)|what|when|where|who)"
    r"(?: (?:is|are|was|were|does|do|did|will|can))"
    r"|(?:how (?:many|much)|what|which)(?: [\w-]{2,20}){1,2} (?:does|do|did|will|can))"
    r" (?P<rest>[^?]{1,300})\??\Z",
    re.IGNORECASE,
)
_HELPING = ("does", "do", "did", "will", "can")
_LAST_VERB = re.compile(
    r" (?:cost|take|last|need|hold|carry|open|close|start|stop|leave|arrive|depart|run|work|weigh"
    r"|require|include|contain|mean|happen|look|end|begin)\Z",
    re.IGNORECASE,
)
_LAST_STATE = re.compile(
    r" (?:open|closed|available|due|valid|allowed|free|built|held|served|kept|stored|called|made"
    r"|used|located|published|paid|shut|there|like|made|sold|cleaned|checked|changed)\Z",
    re.IGNORECASE,
)
_BEFORE_PREPOSITION = re.compile(rf" (?=(?:{_PREPOSITIONS}) )", re.IGNORECASE)
_MAY_I = re.compile(
    r"(?P<before>\W{0,3}(?:can|could|may|must|should|do|is|are|does) [^?]{1,200} (?P<whose>my|our|a"
    r"|an|the) )(?P<what>[\w'-]{2,30})(?P<after>[^?]{0,100}\??)\Z",
    re.IGNORECASE,
)
_FORMER_OR_LATTER = re.compile(
    r"\bthe (?:(former|latter)(?! (?!costs|is|has|does)[a-z]{2,20}s\b)|(first|second) one)\b",
    re.IGNORECASE,
)
_NAME = r"((?:the )?[A-Z][\w'-]{1,30}(?: [A-Z][\w'-]{1,30}){0,2})"
_PAIR = re.compile(rf"\b{_NAME} (?:and|or|from) {_NAME}")


def substituted(topic: str, fragment: str) -> str | None:
    """Return a question with what a fragment puts in the place of something in it.

    "And the yearly service?" replaces the tyre change of "How much is a tyre change for the van?",
    "And for the truck?" its van. None for what has a verb of its own, or replaces nothing known.
    """
    lead = _LEADS.match(fragment)
    if lead is None or len(fragment) > _LONGEST_FRAGMENT:
        return None
    core = _TAIL.sub("", fragment[lead.end() :].strip(" ?!.,;¿¡"))
    alike = _alike(topic, core)
    if alike is not None:
        return alike
    said = _INSTEAD.fullmatch(core)
    if said is None or _POINTS.search(said["name"]):
        return None
    asked = _ASKS_FOR.match(topic)
    if asked is None:
        return _mine(topic, said)
    return _in_its_place(asked, said)


def _alike(topic: str, core: str) -> str | None:
    """Return the topic with its one part of the fragment's shape replaced by the fragment."""
    placed = _BEFORE.match(core)
    bare = core[placed.end() :] if placed else core
    bare = _ONE_AFTER.sub("", bare)
    for shape in _SHAPES:
        if not shape.fullmatch(bare):
            continue
        places = list(shape.finditer(topic))
        if len(places) != 1 or places[0][0].lower() == bare.lower():
            return None
        start, end = places[0].span()
        return f"{topic[:start]}{bare}{topic[end:]}"
    return None


def _in_its_place(asked: re.Match[str], said: re.Match[str]) -> str | None:
    """Return a question with its part after the same preposition, or its subject, replaced."""
    frame, (first, *rest) = asked["frame"], _BEFORE_PREPOSITION.split(asked["rest"].rstrip("?!. "))
    is_helped = frame.lower().endswith(_HELPING)
    if said["preposition"]:
        same = f"{said['preposition'].lower()} "
        places = [i for i, part in enumerate(rest) if part.lower().startswith(same)]
        if not places:
            return None
        # Of "does the ferry to Saint Bride take" the verb stays.
        kept = _LAST_VERB.search(rest[places[0]]) if is_helped else None
        rest[places[0]] = f"{said['preposition']} {said['name']}{kept[0] if kept else ''}"
        if rest[places[0] + 1 :] and rest[places[0] + 1].lower().startswith("of "):
            del rest[places[0] + 1]  # the 45 minutes of "a delay of 45 minutes" go with it
        return _joined(frame, first, *rest)
    head, parts = said["name"].lower().split()[-1], [first, *rest]
    for i, part in enumerate(parts):
        words = part.split()
        bare = [word.lower().strip(",;:") for word in words]
        if head in bare:
            # "And a day pass?" replaces the annual pass, wherever that stands.
            before = words[:1] if i else []
            parts[i] = " ".join([*before, said["name"], *words[bare.index(head) + 1 :]])
            return _joined(frame, *parts)
    # Of "does the locker cost" the verb stays, of "is the locker open" the state.
    state = _LAST_STATE.search(first)
    verb = first.split()[-1:] if is_helped else [state[0].strip()] if state else []
    return _joined(frame, said["name"], *verb, *rest)


def _mine(topic: str, said: re.Match[str]) -> str | None:
    """Return "May I take my dog?" with its last noun replaced, by "And my cat?" for example."""
    asked = _MAY_I.match(topic)
    whose, _, name = said["name"].partition(" ")
    if asked is None or said["preposition"] or whose.lower() != asked["whose"].lower() or not name:
        return None
    return f"{asked['before']}{name}{asked['after']}"


def named_in_order(topic: str, question: str) -> str | None:
    """Return an English question in which "the former" and "the latter" are the two by name.

    None unless it has such words, and the topic names exactly two things side by side.
    """
    if not _FORMER_OR_LATTER.search(question):
        return None
    pairs = _PAIR.findall(topic)
    if len(pairs) != 1:
        return None
    former, latter = map(str, pairs[0])

    def name(words: re.Match[str]) -> str:
        return former if (words[1] or words[2]).lower() in {"former", "first"} else latter

    return _FORMER_OR_LATTER.sub(name, question)


def _joined(*parts: str) -> str:
    return f"{' '.join(parts)}?"
