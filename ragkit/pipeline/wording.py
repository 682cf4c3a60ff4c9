"""What a message says of itself: that it announces, asks or tells, and words that only ask."""

from __future__ import annotations

import re

ANNOUNCEMENT = re.compile(
    r"\W{0,3}(?:tell me (?:more |something )?about|let's talk about|let us talk about|about"
    r"|regarding|concerning|(?:i|we)(?:'m| am|'re| are)? (?:want to use|would like to use|use"
    r"|using|writing|building|running|working (?:on|with)|deploying|developing|setting up))\b"
    r"[^?]{1,300}\Z",
    re.IGNORECASE,
)
"""A turn that asks nothing and says what the next ones are about, in English."""

ASKING = re.compile(
    r"\W{0,3}(?:(?:and|so|but|also|please|(?:in|at|by|from|for|on|to|with|until) (?=wh|how)) ?,? ?)"
    r"{0,2}(?:how|what|which|where|when|who|whom|whose|why|is|are|was|were|do|does|did|can|could"
    r"|will"
    r"|would|should|may|might|must|has|have|am)(?:'?s)?\b",
    re.IGNORECASE,
)
"""How an English message opens that asks."""

TELLING = re.compile(
    r"\b(?:i|i'?m|i'?ve|we|we're|my|our|me|us|mine|ours|it|its|she|he|they|one|some(?:one|body"
    r"|thing)"
    r"|no(?:body|thing)|that|this|those|these)\b",
    re.IGNORECASE,
)
"""Who or what an English message tells of, without a name."""

MEASURE = re.compile(
    r"\b(?:than|costs?|works?|means?|happens?|meant|mean|faster|slower|cheaper|bigger|smaller"
    r"|larger"
    r"|longer|shorter|older|newer|better|kostet|kosten|dauert|meinte|schneller|billiger|größer"
    r"|coûte|coûtent|cuesta|cuestan|costa|costano|custa|custam|kost|стоит|стоят"
    r"|(?<=\bwhat )time|(?<=\bhow )(?:long|much|many|often|soon|close|near|late|early|fast|quick"
    r"|warm|cold|hot|high|deep|heavy|wide|big|large|old|far|tall|strong)"
    r"|(?:old|new|fast|slow|bigg|larg|small|cheap|long|short|high|low|b|earli|lat|near)est"
    r"|colder|warmer|hotter|earlier|later|sooner|nearer|closer|greater|fewer|heavier|deeper|wider"
    r"|some(?:thing|body|one|how)|any(?:thing|body|one|how)|every(?:thing|body|one)|already|still"
    r"|ever"
    r"|really|actually|exactly|possible|rather|quite|yet|else|things?|a lot|a bit"
    r"|want|need|try|tried|know|notice|look|get|got|put|happened|now|today|even|back|let|just|at"
    r" all|please|some|any|much|many"
    r"|goe?s?|tell me|explain|describe)\b",
    re.IGNORECASE,
)
"""Words that ask for something, which documents tell by a figure rather than by these words, and
words that only ask."""

MANY = re.compile(
    r"\b(?:(?:any|some|no|most|(?<!how )many|several|both|all|two|three|few|other|more)"
    r" (?:[a-z]{2,20} )?|(?:do|does|did|are|were|see|get|have|find) (?:[a-z]{2,20} )?)"
    r"(?!this\b|its\b|his\b|was\b|does\b|always\b|less\b|us\b|as\b|is\b|has\b)[a-z]{2,20}(?<!s)s\b",
    re.IGNORECASE,
)
"""English nouns of many things, which "it" cannot mean."""
