"""What shows, by language, that a message goes on from earlier ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Cues(NamedTuple):
    """What shows in a language that a question goes on from what was said before.

    How it opens, words anywhere in it unless an earlier clause has a noun for them (`clause` begins
    the next), pronouns without a noun before them (`named`), and fragments without a verb.
    `expletive` is what only looks like one of these.
    """

    opening: re.Pattern[str]
    anywhere: re.Pattern[str]
    pronoun: re.Pattern[str]
    named: re.Pattern[str]
    clause: re.Pattern[str]
    fragment: re.Pattern[str]
    expletive: re.Pattern[str]
    is_unspaced: bool = False


_NEVER = r"(?!)"

_READERS = (
    r"(?:week|month|year|morning|evening|afternoon|weekend|page|site|document|manual|handbook"
    r"|website|company|firm|organi[sz]ation|business|employer|country|city|town)"
)
"""What "this" before it means needs no earlier turn: it is the reader's."""

_BETTER = (
    r"(?:better|worse|cheaper|faster|quicker|easier|simpler|safer|shorter|longer|smaller|bigger"
    r"|larger"
    r"|older|newer|earlier|later|other|more \w{3,15}|less \w{3,15})"
)
_DONE = (
    r"(?!(?:of|in|on|at|to|from|with|without|by|during|about|for|into|onto|over|under|after|before"
    r"|between|behind|beside|near|like|as|than|off|out|up|through|until|since|against|per|via"
    r"|is|are|was|were|be|been|am|does|do|did|has|have|had|can|could|will|would|shall|should|may"
    r"|might|must|and|or|but|if|when|while|because|that|which|who|whom|what|where|why|how|once"
    r"|so|whether|though|although|unless|whenever|not|then|think|say|says|said|hope|guess"
    r"|ensure|means?|known?|suggest|believe|see|whose|all|only|just|both|even|now|sure|makes?|made"
    r"|finds?|found) )[a-z]{2,15}(?<!ing)"
)
"""What may be a verb before "it"."""

_FINITE = (
    r"(?:is|are|was|were|has|have|had|does|do|did|can|could|will|would|should|may|might|must"
    r"|isn't|wasn't|doesn't|won't|can't|to|(?!as\b|was\b|always|towards|perhaps|besides"
    r"|across|afterwards)[a-z]{2,20}(?<!s)s)\b"
)
"""What shows that "it" is who does something."""

_BY_LANGUAGE: Mapping[str, Mapping[str, str]] = {
    "en": {
        "opening": (
            r"(?:and|but)(?! (?:now|first|another|a different) )|or|what about|how about|same"
            r"|then|else|why(?: not)?\W{0,3}\Z|how so|how come\W{0,3}\Z|i mean|i meant|not (?:the"
            r"|a|that|for)"
            # A correction, but no new question.
            r"|(?:no[,.!]|nope\W|sorry\W|actually\W|rather\W(?! {0,2}than))(?!\W{0,3}(?:and |but"
            r" )?(?:what|where|when|who|whom|whose|why|how|which|is|are|was|were|can|could|do|does"
            r"|did|will|would|should|may|must|i have|i need|i want|another|one more|different|new"
            r"|please|tell)\b)"
            r"|(?:is|are|was|were|does|do|did|can|could|would|will|should|has"
            rf"|have) (?:this|that|these|those)(?! (?:who|that|with|which|whose|of|{_READERS}))"
            r"|also (?:for|in|on|at|to|with|without|by|from|during)(?! (?:which|what|whose|whom) )"
            r"|so (?:i|we|you|it|they|he|she|there|no|not|the|that|this|if|only)(?! (?:far|called))"
            # What is said of the answer, and why only, or so often.
            r"|that(?:'?s| sounds| seems| looks| would| doesn't| won't| didn't|'ll)(?! (?:all|why"
            r"|how|when|where|what) )|(?:it|they) (?:sounds?|seems?|looks?)\b|why (?:so|only|just)"
            r"|(?:you|u) (?:(?:just|also|already) )?(?:mentioned|said|told me|wrote)"
            r"|(?:how|why) (?:do|does|did|are|is) [^?.!]{2,80} (?:compare|differ|related)\W{0,3}\Z"
            r"|(?:still|doesn't|didn't|won't|isn't|wasn't|tried|did that|more\W{0,3}\Z|tell me"
            r" more|show me"
            r" (?:how|the code|an? example)\W{0,3}\Z|go on|go into (?:more )?detail|next step)"
            # Asks for one thing and says no more: "Which deck?", "Who pays?", "Until what age?".
            r"|(?:(?:at|in|on|from|to|until|till|since|by|up to|for|with) )?(?:how|what|which"
            r"|where|when"
            r"|who|whom|why)(?: [a-z'-]{2,20}(?: exactly)?)?\W{0,3}\Z"
            r"|(?:at|in|on|from|to|until|since|by|for|with) (?:how|what|which|when|where)"
            r"(?: [a-z'-]{2,20}){0,2} on(?:wards)?\W{0,3}\Z"
            r"|[a-z]{3,15} (?:how (?:often|long|much|many)|when|where|why|how)\W{0,3}\Z|(?:what"
            r"|who)(?:'?s| is| comes"
            r"| happens) next"
            # As what has been spoken of, or better than it.
            r"|[^?.!:]{3,120} (?:too|as well|either|though)\W{0,3}\Z"
            rf"|(?:is|are|was|were) [^?.!]{{1,60}} {_BETTER}\W{{0,3}}\Z"
            rf"|(?:which|what|who)(?:'?s| is| are| would be| one is) (?:the )?{_BETTER}\W{{0,3}}\Z"
            # Than what is left out.
            r"|(?!which |who )[^?.!]{0,120} (?:is|are|was|were|be|gets?) (?:bigger|larger"
            r"|smaller|longer"
            r"|shorter|higher|lower|faster|slower|later|earlier|older|cheaper|heavier|better|worse)"
            r"\W{0,3}\Z"
        ),
        "anywhere": (
            r"(?:in|for|of|with|about|after|before|from|to|on|by|at|like|than"
            r"|without) (?:(?:these|those)(?=\W{0,3}\Z| [a-z]{2,20}s\b)|(?:this|that)"
            rf"(?! (?:{_READERS}|who|whose|that"
            r"|which|with|without|of|in|i|we|you|are|is)))"
            r"|(?:what|who|where|when|why|how|which)(?:'s| is| are| does| do| did| was| would| can"
            rf"| about| will)? (?:this|that|these|those)(?! (?:{_READERS}"
            r"|who|whose|that|which|with|without|of|in|[a-z]{2,20} (?:of|which|that))\b)"
            r"|(?:does|did|would|will|should) (?:this|that|these|those)"
            rf"(?! (?:{_READERS}|who|which|with|of|in|i|we|you)\b)"
            # Their noun stands in another clause: "Which values can it have?".
            r"|(?:can|could|does|do|did|will|would|should|may|might|must|is|are|was|were|has|have"
            r"|had"
            r") (?:it|they|he|she)(?! (?:that|who)\b)|(?:of|for|about|to|without|after"
            r"|before) (?:it|them)\W{0,3}\Z"
            r"|(?:which|how (?:many|much)|some|any|all|none|both|each|one|most|two|three|many|few"
            r"|several) of (?:them|these|those|it|this|that)(?! (?:who|which|that|with|in|of)\b)"
            r"|the (?:(?:first|last|other|next) (?:two|three|few)|two|three|second"
            r"|third)(?=\W{0,3}\Z"
            r"| (?:is|are|do|does|have|has|costs?|needs?|differ|means?|takes?)\b)"
            r"|one of (?:my|our|your) own|(?:my|our|your) own\W{0,3}\Z"
            r"|how (?:many|much)(?: [a-z]{2,20})? (?:is|are) (?:still )?left"
            r"|(?:an|another|some|any|more) (?:examples?|details?"
            r"|info(?:rmation)?)(?: please)?\W{0,3}"
            r"\Z|(?:i|we|you|to|not|just) (?!say|know|think|mean|show|prove|state|believe"
            r"|note|ensure"
            r"|assume|argue|suggest|find)[a-z]{2,12} (?:this|that|these|those)(?=\W{0,3}\Z"
            r"| (?:for|in"
            r"|on|off|up|back|by|with|at|too|again|automatically|manually|myself|online|without"
            r"|before"
            r"|after|now|today|later|out)\b|[,;] )"
            # How many of what is left out, and whose thing is mine.
            r"|how (?:many|much) (?:do|should|can|could|may|must|would|will|did) (?:i|we|you|one)"
            r" (?:(?:have|need|want) to )?[a-z]{2,12}\W{0,3}\Z"
            r"|(?<!\ba )(?<!\bthe )(?<!\bof )\bmine(?! (?:is|was|in) )(?=\W|\Z)|\A\W{0,3}(?:mine"
            r"|ours)\b"
            r"|(?:do|use|change|get|set|see|have|fix|undo|avoid|prevent|disable|enable|turn|make"
            r"|find|reach|need|send|reset|stop|start|open|cancel|pay|book|achieve"
            r"|switch|put|take|pick|give|run|write|read|delete|remove|install|update|add|move|save"
            r"|store|share|test|build|apply|claim|report|request|order|buy|check|handle"
            rf"|do with) (?:this\b(?! {_READERS})"
            r"|(?:that|these|those)(?=\W{0,3}\Z| (?:for|in|on|off|up|back|by|with|at|to"
            r"|too|again|happen|work|automatically|manually|myself|and|or|if|when|online|from"
            r"|without"
            r"|before|after|now|today|later|properly|safely)\b))"
            r"|(?:these|those) [a-z]{2,20}s\b"
            r"|(?:this|that|these|those)\W{0,3}\Z"
            r"|(?<!is )(?<!are )(?<!was )(?<!were )(?<!will )(?<!if )(?<!n't )(?<!has )(?<!have )"
            r"there(?! (?:is|are|was|were|a|an|any|be|been|will|may|some|no|have|has|had|can|must"
            r"|should)\b)(?!'s)"
            r"|instead(?! of)|otherwise|as well(?! as)|in that case|the same(?:\W{0,3}\Z"
            r"| (?:for|true|with|apply|applies|price|rules?|way\W{0,3}\Z))|the (?:other one|others"
            r"|(?:former|latter)(?! (?!costs|is|has|does)[a-z]{2,20}s\b)|first one|second one"
            r"|third one|last one|rest\W{0,3}\Z)"
            r"|(?:differently|then|meanwhile|in the meantime)\W{0,3}\Z|afterwards|else\W{0,3}\Z"
            r"|more (?:about|on) (?:it|this|that)"
            rf"|(?:an?|any|some|no) {_BETTER} (?:way|options?|choice|alternative|solution|method)"
            r"\W{0,3}\Z|(?:an|any) alternatives?\W{0,3}\Z|any other [a-z]{2,15}\W{0,3}\Z"
            r"|(?:anyone|anybody|anything|someone|somebody|who|what|where|how) else(?:"
            r" [^\s?]{1,20})"
            r"{0,3}\W{0,3}\Z"
            r"|(?:can|could|may|should|must|do|does|will|would) (?:i|we|you|one) (?:also|rather"
            r"|still)"
            r"|(?:you|u) (?:(?:just|also|already) )?(?:mentioned|spoke of|talked about)"
            r"|(?:what|which)(?: are| were| is)?(?: the| some)? other [a-z]{3,20}(?: [a-z]{3,20})?"
            r"(?: are there| exist| is there| do you know)?\W{0,3}\Z|the two [a-z]{3,20}s\b"
            r"|the same (?:problem|issue|error|question|thing)\W{0,3}\Z"
            # What of an answer is left, or a figure in it: "List the other values for me".
            r"|(?:list|show|give|tell|name|explain|describe) (?:me |us )?the other [a-z]{3,20}"
            r"(?: for me| please| too)?\W{0,3}\Z"
            r"|the (?:variant|alternative|opposite|reverse)(?=\W{0,3}\Z| (?:where|that|which)\b)"
            r"|the \d{1,6}(?=\W{0,3}\Z| (?:come|mean|stand|do|does|is|for)s?\b)"
            r"|the (?:first|second|third|fourth|last|next|previous) (?:point|step|part|option|item"
            r"|sentence|example|method|way|question|answer)(?! (?:of|in|to|for|when|is to)\b)"
            r"|(?:do|would) you (?:recommend|suggest|prefer|advise)(?: [a-z]{2,12})?\W{0,3}\Z"
            # What is done to it: the one who does it, in the same clause, is not what is meant.
            rf"|{_DONE} (?:(?-i:it|them|him)(?!'| {_FINITE})|(?:those|these|that)(?=[,;.?!]))"
        ),
        "pronoun": (
            r"it|its|itself|they|them|their|theirs|themselves|he|she|him|her|hers|his"
            r"|also\W{0,3}\Z|the ones|which one|another one"
            r"|(?:the (?:[\w'-]{2,20} )?)?ones?\W{0,3}\Z|(?:book|buy|get"
            r"|order|need|rent|use|have|bring|take|find|make|add|see) one(?! of| to)|(?:a"
            r"|any|every|each|no|[a-z]{3,12}er|small|large|big|cheap|new|old|good|long"
            r"|short) ones?"
            r"|the (?:old|new|fast|slow|bigg|larg|small|cheap|long|short|high|low|b|earli|lat"
            r"|near)est"
            r"\W{0,3}\Z"
            # Nouns that are the price, limit or default of something that is left out.
            r"|the (?:(?:maximum|minimum|total|full|exact|usual|normal|regular|current|main|new"
            r"|default|first|next|last|daily|monthly|yearly|annual|best|lowest|highest|extra"
            r") )?(?:costs?|price|prices|fee|fees|deadline|default|limit|maximum|minimum|size"
            r"|length|weight|height|capacity|address|phone number|number|opening hours|hours"
            r"|duration|difference|reason|advantages?|disadvantages?|alternatives?|exceptions?"
            r"|requirements?|purpose|result|steps|fix|solution|workaround|catch|risk|command"
            r"|syntax|trick|downside)\W{0,3}\Z"
            # What is done, but not to what.
            r"|the (?:replacement|renewal|repair|installation|delivery|shipping|registration"
            r"|booking|cancellation|removal|upgrade|update|conversion)(?=\W{0,3}\Z| (?:cost|costs"
            r"|take|takes|happen|work|need|include|have|fail|be)\b)"
        ),
        "named": (
            r"(?i:a|an|the|my|our|your|this|each|every|any|some|another|one|no|two|three|most|many"
            r"|several|both"
            r"|those|all|(?:which|what|whose|how many|how much)(?! (?:is|are|was|were|does"
            r"|do|did|can|could|would|will|should|has|have|about|if|happens|to|one"
            r"|else|of)\b)) [\w'-]{2}|\A\W{0,3}[^:]{2,60}:"
            r"|(?<=[a-z,] )[A-Z][\w-]{2}"
            r"|\w[_./]\w|\b(?!(?:happens|does|is|was|has|works|means|needs|costs"
            r"|takes)\b)[a-z]{3,20}s\b(?= (?:are|were|do|have|when|if|and))"
            r"|\A\W{0,3}(?!(?i:what|where|when|which|while|whose|whom|that|this|these|those|then"
            r"|they|there|here|it)\b)[A-Za-z][a-z]{3,20} (?:is|are|was|were|does|has)\b"
            r"|\b(?i:do|does|did|will|can|could|are|were|should|would|have|may) (?!this|its|his"
            r"|hers|theirs|ours|yours|always|less|plus|perhaps|sometimes|besides|thus|as|us"
            r"\b)[a-z]{3,20}s\b|\b(?i:do|does|did|will|can|could|would|should)"
            r" (?![a-z]{2,20}ing\b)(?!i|you|we|they|it"
            r"|he|she|one|people|someone|anyone|everyone|this|that|these|those|there|not|also"
            r"|even\b)"
            r"[a-z]{3,20} [a-z]|\A\W{0,3}(?i:if|when|while|since|as|after|before|once|in|during"
            r"|according)\b[^,]{10,200},"
        ),
        "clause": (
            r"and|or|but|if|when|whenever|because|so|as|who|which|while|once|since|until|before"
            r"|after|although|to|than|that|where|how|why|what|unless|whether|though"
            r"|(?:without|by|for|in|of|from|instead of)(?= [a-z]{2,15}ing )"
        ),
        "fragment": (
            r"(?:for|in|with|without|on|at|to|from|only|even|more|less|just|by|until|since|any|not"
            r"|including|except|excluding|via|using|per|why so|under|over|between) (?!(?:which"
            r"|what|whom|whose|how) \S{1,40} \S)"
            r"(?![^?]{0,80}\b(?:is|are|was|were|does|do|did|can|will|should|may|must|has"
            r"|have)\b)\S|(?:the|a|an|my"
            r"|our) [\w'-]{2,30}(?: [\w'-]{2,30}){0,2}\W{0,3}\Z"
            r"|(?!(?:is|are|do|does|can|will|what|which|who|where|when|how)\b)[\w'-]{1,20}(?:"
            r" [\w'-]{1,20})?"
            r" or [\w'-]{1,20}(?: [\w'-]{1,20})?\?"
        ),
        "expletive": (
            r"(?:is|was|would|will|be) it (?:possible|ok|okay|allowed|necessary|safe|true"
            r"|worth|time|better|free|enough|permitted|legal|required|important|normal"
            r"|dangerous|easy|hard|difficult|common|estimated|believed|said|thought|suggested"
            r"|known(?= that| to)"
            r"|assumed|expected|recommended|when|brought up)|it(?:'s| is| was) (?:possible|allowed"
            r"|necessary|safe|true|better|required|important|raining|snowing|cold|hot|dark"
            r"|late|early)"
            r"|(?:is|was) it [a-z]{3,15}(?: [a-z]{3,15})? that|(?:is|was) it (?:easier|harder"
            r"|cheaper|faster|quicker|best|wise|sensible|advisable|common|usual|likely|useful"
            r"|customary|acceptable) to"
            r"|(?:does|do|will|would|did|can|could) it (?:cost|take|matter|rain"
            r"|snow|happen|mean)(?! (?:away|off|in|out|up|back)\b)(?=[^?.!]{0,60} (?:to|if"
            r"|when)\b)|does it mean for|it (?:takes|costs|rains|snows|matters|happens)"
            r"|in order that|so that|now that|and/or|how is it that|that is(?= [a-z])"
            r"|it called (?:when|if)"
            # Those who run a place: "When do they turn the heating on?".
            r"|(?:do|did|will|can|would) they(?= [a-z]{2,12} (?:the|an?|my|our|any|your)"
            r" [\w'-]+(?: [\w'-]+){1,20})"
            r"(?![^?.!]{0,90} (?:it|them|this|that|there|those|these)\b)"
            r"|do they(?= (?:have|sell|offer|serve|accept) [\w'-]{3,20}(?: [\w'-]{2,20}){0,3} at"
            r" (?:the )?(?!(?:all|least|night|noon|midnight|weekends?|christmas|easter|lunch"
            r"|breakfast|dinner|once)\b)[a-z]{3})"
        ),
    },
    "de": {
        "opening": (
            r"und(?! (?:nun|jetzt) )|oder|aber(?! (?:nun|jetzt) )|auch|dann|was ist mit"
            r"|wie (?:sieht|steht) es|warum\W{0,3}\Z|wieso\W{0,3}\Z|nein|doch"
            r"|eigentlich(?!,? w)|ich meine?"
        ),
        "anywhere": (
            # "dafür, dass" speaks of what comes.
            r"(?:davon|dafür|damit|dazu|darauf|darin|daran|dabei|daraus|dagegen|danach|davor)"
            r"(?![^.?!]{0,60}, (?:dass|ob|sich|wie|wann|was|wer|\w{2,30} zu))"
            r"|(?:ich|man|wir|ist|sind|gibt es|gilt|darf|kann|muss|geht) da(?! (?:draußen|drin|oben"
            r"|unten|vorne?)\b)|welche[rnsm]? von (?:ihnen|beiden|den beiden)"
            r"|(?:der|die|das|den) (?:erste|zweite|dritte|letzte|andere)n?\W{0,3}\Z"
            r"|beide[nr]?\W{0,3}\Z"
            r"|dort|dorthin|dessen|deren|stattdessen|ansonsten|ebenfalls"
            r"|(?:dasselbe|derselbe|dieselben?)\W{0,3}\Z|hingegen"
            r"|(?:diese[rsnm]?|jene[rsnm]?)(?! (?:woche|monats?|jahr"
            r"|jahres|seite|handbuch|dokument))|(?:ist|geht|gilt|kostet|dauert|heißt|macht"
            r"|war|wird|kann|muss|darf) (?:das|dies)(?! \w)|(?:ist|geht|gilt|kostet|dauert"
            r"|heißt|macht|war|wird|kann|muss|darf) das (?:auch|nicht|noch|denn|immer"
            r"|möglich|erlaubt|dann|für)|das\W{0,3}\Z|(?:auch|sonst|wieder)\W{0,3}\Z"
        ),
        # "sie" in small letters is no address, unless one is asked for something.
        "pronoun": r"er|ihn|ihm|ihnen|es|seine?[rnms]?|(?-i:sie)(?! (?:mir|uns|bitte|eine?n?)\b)",
        "named": (
            r"(?:der|die|das|den|dem|des|ein|eine[rnms]?|mein\w{0,4}|unser\w{0,4}|ihr\w{0,4}"
            r"|kein\w{0,4}) [\w-]{2}|(?<!viel )(?<!viele )(?<!elche )(?<!elcher )(?<!elchen )"
            r"(?<!elches )(?<=[a-zäöüß,] )[A-ZÄÖÜ][\w-]{2}"
        ),
        "clause": r"und|oder|aber|wenn|weil|dass|als|ob|falls|bevor|nachdem|um",
        "fragment": (
            r"(?:für|in|im|mit|ohne|am|an|auf|zu|zum|zur|von|vom|nur|bei|bis|ab) "
            r"(?!(?:wen|wem|wann|wo|welche[rnms]?|wie|was) \S)\S"
            r"|(?:bis|ab|seit|in|an|auf|mit|von|zu|für) (?:wen|wem|wann|wo|welche[rnms]? \S{1,40}"
            r"|wie viele?n?)\W{0,3}\Z|(?:der|die|das) \S{2,40}(?: \S{2,40})?\Z"
        ),
        "expletive": (
            r"(?:gibt|gäbe) es|es (?:gibt|gäbe)|(?:ist|wäre|wird) es (?:möglich|erlaubt"
            r"|nötig|sicher|wahr|besser|notwendig)|es ist|(?:kostet"
            r"|dauert) es(?=[^?.!]{0,60} zu\b)|geht es um|regnet es|es regnet"
            r"|(?:kommt|kam|bedarf|handelt|gelingt|gelang|lohnt) es|(?:muss|kann|soll|darf|wird) es"
            r"(?=[^?.!]{0,60} geben\b)"
            r"|es(?=, (?:das|dass|wenn|bis|ob|was)\b)"
        ),
    },
    "fr": {
        "opening": (
            r"et(?! maintenant )|ou(?! (?:est|sont|se|puis|peut|peux|trouve|dois|faut|va|vais)\b)"
            r"|mais|alors|qu'en est-il|pourquoi\W{0,3}\Z|non|en fait(?!,? (?:où|quand|comment|qui"
            r"|quel))|je veux dire"
        ),
        "anywhere": (
            r"ça|cela|ceci|(?:celui|celle|ceux|celles)(?! (?:qui|que|dont|de|du|des)\b)|là-bas"
            r"|là-dedans|celui-ci|celle-ci|lequel|laquelle|lesquel(?:le)?s|j'y|j'en|il y en a"
            r"|(?:le|la) (?:premi(?:er|ère)|second|seconde|deuxième|dernier|dernière"
            r"|autre)\W{0,3}\Z"
            r"|dans ce cas|sinon|à la place|(?:le|la|les) mêmes?\W{0,3}\Z|(?:cet|cette"
            r"|ces) (?!semaine|année|page)[\w-]+|aussi\W{0,3}\Z"
        ),
        "pronoun": r"il|elle|ils|elles|lui|leurs?|son|sa|ses",
        "named": (
            r"(?i:le|la|les|l'|un|une|des|mon|ma|mes|notre|nos|votre|vos|du|au|aux"
            r"|quel\w{0,3}(?! (?:est|sont|était)\b)) ?[\w-]{2}|(?<=[a-zé,] )[A-ZÉ][\w-]{2}"
        ),
        "clause": r"et|ou|mais|si|quand|lorsque|parce que|pour|dont|qui",
        "fragment": (
            r"(?:pour|dans|avec|sans|sur|à|au|aux|de|du|chez|pendant|jusqu'à|depuis) "
            r"(?!(?:quel\w{0,3}|qui|quoi|combien) \S{1,40} \S)\S"
            r"|(?:le|la|les) \S{2,40}(?: \S{2,40})?\s?\W?\Z"
        ),
        "expletive": (
            r"(?:est-ce|qu'est-ce) qu[e']|y a-t-il|il y a|faut-il|il faut|est-il (?:possible"
            r"|permis|nécessaire|obligatoire|interdit|autorisé)|combien de temps faut-il"
        ),
    },
    "es": {
        "opening": (
            r"y(?! ahora )|o|pero|entonces|también|no[,.]|en realidad(?!,? ¿)|quiero decir"
            r"|¿?por qué\W{0,3}\Z"
        ),
        "anywhere": (
            r"eso|esto|ese|esa|esos|esas|aquello|allí|ahí|ello|en ese caso|si no|en cambio"
            r"|también\W{0,3}\Z|(?:el|la|los|las|lo) mism[oa]s?\W{0,3}\Z"
            r"|cuál(?:es)? de (?:ellos|ellas"
            r"|los dos|las dos)|entonces\W{0,3}\Z"
            r"|(?:el|la) (?:primer[oa]|segund[oa]|últim[oa]|otr[oa])\W{0,3}\Z"
            r"|(?:(?<!al )(?<!del )este|esta|estos|estas) (?!semana|mes|año|página|tipo)[\w-]+"
        ),
        "pronoun": (
            r"él|ella|ellos|ellas|lo(?! (?:que|mejor|más|largo|mismo|antes)\b)"
            # "¿Cuánto le cuesta a un adulto?" says whom it means.
            r"|(?<!se )les?(?![^?.!]{0,80} (?:a|al) \w)|sus?|[a-záéíóú]{2,20}r(?:lo|la|los|las)"
        ),
        "named": (
            r"(?i:el|la|los|las|un|una|mi|mis|nuestr\w{1,5}|al|del|qué|cuánt[oa]s) [\w-]{2}"
            r"|(?<=[a-záéíóúñ,] )[A-ZÁÉÍÓÚ][\w-]{2}"
        ),
        "clause": r"y|o|pero|si|cuando|porque|para|que",
        "fragment": (
            r"(?:para|en|con|sin|sobre|a|al|de|del|desde|hasta|solo) "
            r"(?!(?:qu[ée]|cuál|quién|cuánt[oa]s?|cuándo|dónde) \S)\S"
            r"|(?:para|en|con|de|desde|hasta|a) (?:qu[ée] \S{1,40}|cuál|quién|cuándo"
            r"|dónde)\W{0,3}\Z|(?:el|la|los|las) \S{2,40}(?: \S{2,40})?\Z"
        ),
        "expletive": r"lo que|¿?es posible|¿?está permitido",
    },
    "it": {
        "opening": r"e(?! adesso | ora )|o|ma|allora|anche|perché\W{0,3}\Z|no[,.]|voglio dire",
        "anywhere": (
            r"ciò(?! che)|questo\W{0,3}\Z|quest[aoie] (?!settimana|mese|anno|pagina)[\w-]+"
            r"|quell[aoie](?! (?:che|di|del|della)\b)|lì|là|esso|essa|essi|invece|in tal caso"
            r"|altrimenti|(?:lo|la|gli|le) stess[oaie]\W{0,3}\Z|anche\W{0,3}\Z"
        ),
        "pronoun": (
            r"lui|lei|loro|li|suo|sua|suoi|sue|(?:lo|la) (?:posso|devo|si|trovo|compro|prendo)"
        ),
        "named": (
            r"(?i:il|lo|la|i|gli|le|un|uno|una|mio|mia|nostr\w{1,5}|del|della|al|alla) [\w-]{2}"
            r"|(?<=[a-zàèéìòù,] )[A-ZÈ][\w-]{2}"
        ),
        "clause": r"e|o|ma|se|quando|perché|per|che",
        "fragment": (
            r"(?:per|in|con|senza|su|a|al|di|del|da|solo|fino) "
            r"(?!(?:che|quale|quali|chi|quanto|quanti|quando|dove) \S{1,40} \S)\S"
            r"|(?:il|la) \S{2,40}(?: \S{2,40})?\Z"
        ),
        "expletive": r"è possibile",
    },
    "pt": {
        "opening": r"e(?! agora )|ou|mas|então|também|por quê\W{0,3}\Z|não[,.]|quero dizer",
        "anywhere": r"isso|isto|aquilo(?! que)|ali|lá|nesse caso|senão|também\W{0,3}\Z"
        r"|(?:o|a|os|as) mesm[oa]s?\W{0,3}\Z|(?:ess[ea]s?|est[ea]s?) (?!semana|mês|ano"
        r"|página)[\w-]+",
        "pronoun": r"ele|ela|eles|elas|dele|dela|deles|delas|seus?|suas?",
        "named": (
            r"(?i:o|a|os|as|um|uma|meu|minha|noss\w{1,3}|do|da|no|na|ao) [\w-]{2}"
            r"|(?<=[a-zãçéíóú,] )[A-ZÉ][\w-]{2}"
        ),
        "clause": r"e|ou|mas|se|quando|porque|para|que",
        "fragment": (
            r"(?:para|em|no|na|com|sem|sobre|a|ao|de|do|da|só|até) "
            r"(?!(?:que|qual|quais|quem|quanto|quantos|quando|onde) \S{1,40} \S)\S"
            r"|o \S{2,40}(?: \S{2,40})?\Z"
        ),
        "expletive": r"é possível",
    },
    "nl": {
        "opening": (
            r"en(?! nu )|maar|dan|en wat|hoe zit het|waarom\W{0,3}\Z|nee|eigenlijk(?!,? (?:wa|ho))"
            r"|ik bedoel"
        ),
        "anywhere": (
            r"daarvan|daarvoor|daarmee|daarna|daarop|daarin|daar|ervan|ervoor|ermee|erin"
            r"|(?:dezelfde|hetzelfde)\W{0,3}\Z|anders\W{0,3}\Z|(?:dit|deze) (?!week|maand|jaar"
            r"|pagina)[\w-]+|dat\W{0,3}\Z|ook\W{0,3}\Z"
        ),
        "pronoun": r"hij|hem|ze|haar",
        "named": r"(?i:de|het|een|mijn|onze?|uw|jouw) [\w-]{2}|(?<=[a-z,] )[A-Z][\w-]{2}",
        "clause": r"en|of|maar|als|wanneer|omdat|om|die|dat",
        "fragment": (
            r"(?:voor|in|met|zonder|op|aan|naar|van|bij|alleen|tot) "
            r"(?!(?:welke?|wat|wie|hoeveel|hoe) \S{1,40} \S)\S|de \S{2,40}(?: \S{2,40})?\Z"
        ),
        "expletive": r"is het mogelijk",
    },
    "ru": {
        "opening": r"а(?! теперь )|и|но|или|тогда|почему\W{0,3}\Z|нет,|то есть",
        "anywhere": (
            r"(?:этот|эта|эти|этого|этой|этих|этом)(?! (?:недел|месяц|год|страниц))|там|туда"
            r"|(?:тот же|то же)\W{0,3}\Z|в этом случае|иначе|это\W{0,3}\Z"
        ),
        "pronoun": r"он|она|оно|они|его|её|ее|их|ему|ей|им|ними|ней|него|неё",
        # No articles: a longer word that asks for nothing.
        "named": (
            r"(?<=\w[ ,])(?!(?i:долго|часто|можно|нужно|должн\w{1,3}|времени|стоит|быстро|далеко"
            r"|дорого|стоимость|когда|какой|какая|какие|какого|будет|находится)\b)\w{4}"
        ),
        "clause": r"и|или|но|если|когда|потому что|чтобы|который|которая|которые",
        "fragment": (
            r"(?:для|в|на|с|без|к|у|по|до) "
            r"(?!(?:как\w{2,4}|чего|чем|ком|кого|котор\w{2,3}|скольк\w{1,2}) \S{1,40} \S)\S"
        ),
        "expletive": _NEVER,
    },
}

_UNSPACED: Mapping[str, tuple[str, str, str]] = {
    "zh": (
        r"那|还有|但是|可是|或者|而",
        r"它|他们|她们|这个|那个|这些|那些(?=\W|\Z)|这种|那种|(?<=[在去到从])那里|\A那里|这样|呢\W{0,3}\Z",
        _NEVER,
    ),
    "ja": (
        r"では|じゃあ|それで|でも|また(?!は)|そして",
        r"それ(?!ぞれ)|その(?!他|後)|そこ|そちら|これ|この場合|あれ|同じですか",
        _NEVER,
    ),
}


_ANYWHERE, _FIRST = r"(?<!\w)(?:{})(?!\w)", r"\W{{0,3}}(?:{})"
_NOTHING = re.compile(_NEVER)

CUES: Mapping[str, Cues] = {
    **{
        language: Cues(
            opening=re.compile(_FIRST.format(cues["opening"]) + r"(?!\w)", re.IGNORECASE),
            anywhere=re.compile(_ANYWHERE.format(cues["anywhere"]), re.IGNORECASE),
            pronoun=re.compile(_ANYWHERE.format(cues["pronoun"]), re.IGNORECASE),
            named=re.compile(cues["named"]),
            clause=re.compile(rf"[,:;] |(?: (?:{cues['clause']})(?= ))", re.IGNORECASE),
            fragment=re.compile(_FIRST.format(cues["fragment"]), re.IGNORECASE),
            expletive=re.compile(_ANYWHERE.format(cues["expletive"]), re.IGNORECASE),
        )
        for language, cues in _BY_LANGUAGE.items()
    },
    **{
        language: Cues(
            opening=re.compile(rf"\W{{0,3}}(?:{opening})"),
            anywhere=re.compile(anywhere),
            pronoun=_NOTHING,
            named=re.compile(r"\w{4}"),
            clause=re.compile("[，,、；：]"),
            fragment=_NOTHING,
            expletive=re.compile(expletive),
            is_unspaced=True,
        )
        for language, (opening, anywhere, expletive) in _UNSPACED.items()
    },
}
"""By language."""

THAT_NOUN = re.compile(
    rf"\b(?:(?:those|these) (?P<many>[a-z]{{3,20}}s)\b|(?<=[a-z] )(?<!\bdoes )(?<!\bdo )(?<!\bdid )"
    rf"(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bcan )(?<!\bwill )(?<!\bmay )(?<!\bmust )(?<!\bif )"
    rf"(?:that|this) (?!{_READERS}\b|(?:time|day|point|moment|respect|much|many|often|long|far"
    rf"|reason)\b)"
    r"(?P<one>[a-z]{3,20})(?=[,;.?!]|\Z))",
    re.IGNORECASE,
)
"""An English noun that has been spoken of: "I never see that error"."""
