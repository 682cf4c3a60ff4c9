"""What shows, by language, that a message goes on from earlier ones, or speaks about them."""

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
            r"|have) (?:this|that|these|those)(?! (?:who|that|with|which|whose|of|week|month|year"
            r"|morning|evening|afternoon|weekend|page|site|document|manual|handbook|text|website))"
        ),
        "anywhere": (
            r"(?:in|for|of|with|about|after|before|from|to|on|by|at|like|than"
            r"|without) (?:(?:these|those)(?=\W{0,3}\Z| [a-z]{2,20}s\b)|(?:this|that)(?! (?:week"
            r"|month|year|morning|evening|afternoon|weekend|page|site|document|manual|handbook|text|website|who|whose|that"
            r"|which|with|without|of|in|i|we|you|are|is)))"
            r"|(?:what|who|where|when|why|how|which)(?:'s| is| are| does| do| did| was| would| can"
            r"| about| will)? (?:this|that|these|those)(?! (?:week|month|year|page|site|document"
            r"|manual|handbook|text|website|who|whose|that|which|with|without|of|in"
            r"|[a-z]{2,20} (?:of|which|that))\b)"
            r"|(?:do|use|change|get|set|see|have|fix|undo|avoid|prevent|disable|enable|turn|make"
            r"|find|reach|need|send|reset|stop|start|open|cancel|pay|book|achieve"
            r"|switch|put|take|pick|give|run|write|read|delete|remove|install|update|add|move|save"
            r"|store|share|test|build|apply|claim|report|request|order|buy|check|handle"
            r"|do with) (?:this\b(?! (?:week|month|year|page|site|document|manual|handbook|text"
            r"|website))|(?:that|these|those)(?=\W{0,3}\Z| (?:for|in|on|off|up|back|by|with|at|to"
            r"|too|again|happen|work|automatically|manually|myself|and|or|if|when|online|from|without"
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
            r"|(?:differently|then)\W{0,3}\Z|afterwards|else\W{0,3}\Z"
            r"|more (?:about|on) (?:it|this|that)"
        ),
        "pronoun": (
            r"it|its|itself|they|them|their|theirs|themselves|he|she|him|her|hers|his|(?:too"
            r"|either|also)\W{0,3}\Z|which one|another one|ones?\W{0,3}\Z|(?:book|buy|get"
            r"|order|need|rent|use|have|bring|take|find|make|add|see) one(?! of| to)|(?:a"
            r"|any|every|each|no|[a-z]{3,12}er|small|large|big|cheap|new|old|good|long"
            r"|short) ones?"
            # Nouns that are the price, limit or default of something that is left out.
            r"|the (?:(?:maximum|minimum|total|full|exact|usual|normal|regular|current|main|new"
            r"|default|first|next|last|daily|monthly|yearly|annual|best|lowest|highest|extra"
            r") )?(?:costs?|price|prices|fee|fees|deadline|default|limit|maximum|minimum|size"
            r"|length|weight|height|capacity|address|phone number|number|opening hours|hours"
            r"|duration|difference|reason|advantages?|disadvantages?|alternatives?|exceptions?"
            r"|requirements?|purpose|result|steps)\W{0,3}\Z"
            # What is done, but not to what.
            r"|the (?:replacement|renewal|repair|installation|delivery|shipping|registration"
            r"|booking|cancellation|removal|upgrade|update|conversion)(?=\W{0,3}\Z| (?:cost|costs"
            r"|take|takes|happen|work|need|include|have|fail|be)\b)"
        ),
        "named": (
            r"(?i:a|an|the|my|our|your|this|each|every|any|some|another|one|no|two|three|most|many|several|both"
            r"|those|all|(?:which|what|whose|how many|how much)(?! (?:is|are|was|were|does"
            r"|do|did|can|could|would|will|should|has|have|about|if|happens|to|one"
            r"|else)\b)) [\w'-]{2}|\A\W{0,3}[^:]{2,60}:|(?<=[a-z,] )[A-Z][\w-]{2}"
            r"|\w[_./]\w|\b[a-z]{3,20}s\b(?= (?:are|were|do|have|when|if|and))"
            r"|\A\W{0,3}(?!(?i:what|where|when|which|while|whose|whom|that|this|these|those|then"
            r"|they|there|here|it)\b)[A-Za-z][a-z]{3,20} (?:is|are|was|were|does|has)\b"
            r"|\b(?i:do|does|did|will|can|could|are|were|should|would|have|may) (?!this|its|his"
            r"|hers|theirs|ours|yours|always|less|plus|perhaps|sometimes|besides|thus|as|us"
            r"\b)[a-z]{3,20}s\b|\b(?i:do|does|did|will|can|could|would|should) (?!i|you|we|they|it"
            r"|he|she|one|people|someone|anyone|everyone|this|that|these|those|there|not|also|even\b)"
            r"[a-z]{3,20} [a-z]|\A\W{0,3}(?i:if|when|while|since|as|after|before|once|in|during"
            r"|according)\b[^,]{10,200},"
        ),
        "clause": (
            r"and|or|but|if|when|whenever|because|so|as|who|which|while|once|since|until|before"
            r"|after|although|to"
        ),
        "fragment": (
            r"(?:for|in|with|without|on|at|to|from|only|even|more|less|just|by|until|since"
            r"|under|over|between) (?!(?:which|what|whom|whose|how) \S{1,40} \S)"
            r"(?![^?]{0,80}\b(?:is|are|was|were|does|do|did|can|will|should|may|must|has|have)\b)\S|(?:the|a|an|my"
            r"|our) [\w'-]{2,30}(?: [\w'-]{2,30}){0,2}\W{0,3}\Z"
        ),
        "expletive": (
            r"(?:is|was|would|will|be) it (?:possible|ok|okay|allowed|necessary|safe|true"
            r"|worth|time|better|free|enough|permitted|legal|required|important|normal"
            r"|dangerous|easy|hard|difficult)|it(?:'s| is| was) (?:possible|allowed"
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
            r"|là-dedans|celui-ci|celle-ci"
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
"""By language; of a language without an entry none are known."""

_THANKS = (
    r"(?:many )?thanks(?: a lot| so much| again| very much| a million)?|no,? thanks"
    r"|(?:no,? )?thank you(?: so much| very much| a lot)?|thx|ty|cheers|(?:ok(?:ay)?|great|perfect"
    r"|cool|nice|awesome|excellent|super|good(?! [mean])|fine|alright|brilliant|wonderful"
    r"|lovely|wow|lol|haha)"
    r"|got it|i see|understood|makes sense|never ?mind|no problem|(?:good)?bye|see you(?: later)?"
    r"|hello|hi|hey|good (?:morning|evening|afternoon|night)"
    r"|(?:vielen |besten |herzlichen )?dank(?:e)?(?: schön| sehr)?(?: für (?:die|deine|ihre)"
    r" (?:hilfe|auskunft|antwort)| dir| ihnen| euch)?|alles klar|verstanden|prima|toll"
    r"|tschüss|hallo|guten (?:morgen|tag|abend)|auf wiedersehen"
    r"|merci(?: beaucoup| bien| à vous| à toi)?(?: pour (?:ton|votre|l') ?aide)?|parfait"
    r"|super|d'accord|au revoir|bonjour|bonsoir|très bien"
    r"|(?:muchas |muchísimas )?gracias(?: por (?:la|tu|su) ayuda)?|perfecto|vale"
    r"|entendido|hola|adiós|buenos días|muy bien"
    r"|grazie(?: mille)?|perfetto|capito|ciao|buongiorno|(?:muito )?obrigad[oa]|olá|tchau"
    r"|bedankt|dank (?:je|u)(?: wel)?|hoi|tot ziens|(?:большое )?спасибо(?: большое)?|понятно"
    r"|привет|до свидания|(?:非常|多)?(?:谢谢|感谢)(?:你|您|了)?|多谢|好的|明白了|知道了|你好|再见"
    r"|(?:どうも)?ありがとう(?:ございます|ございました)?|わかりました|了解(?:です|しました)?|こんにちは"
)
_PRAISE = (
    r"(?:that|this|it)(?:'s| is| was| has been| helps?| helped| answers?| answered| works?| worked"
    r"| makes)(?: (?:me|my|all|it|so|very|really|exactly|just|quite|a|lot|great|perfect(?:ly)?"
    r"|helpful|useful|good|clear|right|sense|what|i|needed|wanted|question|for|now|not|wrong"
    r"|incorrect|unclear|too|much|long|short|complicated)){0,6}"
    r"|(?:exactly |just )?what i (?:needed|wanted|was looking for)"
    r"|very (?:helpful|useful|kind|good)"
    r"|you(?:'re| are| were| have been) (?:very |so |really )?(?:kind|helpful|great|right|wrong)"
    r"|(?:sorry, )?i (?:do not|don't|did not|didn't) (?:understand|get it|get that|follow)"
    r"|too (?:long|short|complicated|vague)|for (?:the|your) (?:help|answer|information)"
    r"|(?:das|es) (?:hilft|war|ist|reicht)(?: (?:mir|uns|sehr|gut|alles|hilfreich|weiter|toll"
    r"|falsch|super|perfekt|klar|genau|schon|zu|lang|richtig)){0,4}|(?:das )?verstehe ich nicht"
    r"|ich verstehe(?: das)? nicht|zu (?:lang|kurz|kompliziert)"
    r"|c'est (?:très |trop )?(?:parfait|clair|utile|bien|gentil|noté|faux|long)|ça m'aide"
    r"(?: beaucoup)?|je ne comprends pas|muy (?:útil|amable|claro)|(?:eso )?me ayuda(?: mucho)?"
    r"|no (?:lo )?entiendo|es (?:perfecto|claro)|non capisco|molto (?:utile|gentile)"
    r"|não entendi|ik begrijp het niet|не понимаю|(?:我)?不明白|太长了|很有帮助"
)
_LANGUAGES = (
    r"(?:english|german|french|spanish|italian|portuguese|dutch|russian|chinese|japanese"
    r"|arabic|deutsch|englisch|französisch|spanisch|italienisch|anglais|allemand|français"
    r"|espagnol|inglés|alemán|francés|español|inglese|tedesco|francese|italiano)"
)
_TONGUE = rf"(?:in|into|to|auf|ins?|en|in het|em) {_LANGUAGES}"
_SAID = (
    r"(?:it|that|this|everything|your (?:last |previous )?(?:answer|reply)|the (?:last |previous )?"
    r"answer|our conversation|the conversation|our chat|all (?:of )?(?:that|this))"
)
_MANNER = (
    rf"(?: again| once more| so far| a bit| much| (?:more )?(?:simply|briefly|clearly|slowly)"
    rf"| differently| in (?:other|simple|simpler|plain|fewer|your own|one|two|three|a few|short)"
    rf"(?: (?:words?|sentences?|lines?|english))?| shorter| longer| simpler| {_TONGUE}"
    r"| (?:as|in|with) (?:a )?(?:list|table|bullet points?)| for (?:a child|beginners|me))"
)
_WISHES = (
    r"(?:(?:make|keep) (?:it|that|this) |a bit |much |even |be )?(?:shorter|longer|simpler|briefer"
    r"|more brief|more briefly|brief|concise|more concise|in short)"
    rf"|(?:now |again |and |und |et |y )?{_TONGUE}"
    rf"|(?:say|write|put|repeat|rephrase|reword|translate|summari[sz]e|explain|shorten|simplify"
    rf"|make|give me) {_SAID}{_MANNER}{{0,3}}"
    rf"|(?:repeat|rephrase|summari[sz]e|go on|continue|try again|shorten)"
    rf"|(?:answer|reply|respond|write|speak|talk)(?: to me)?{_MANNER}{{1,2}}"
    r"|(?:use|give me|write) (?:a )?(?:bullet points?|short version|shorter version|summary"
    r"|short answer|shorter answer|simpler words|fewer words|one sentence)"
    r"|(?:what|why) did (?:you|i) (?:just )?(?:say|ask|answer|write)(?: before| first| last)?"
    r"|(?:what|which) was my (?:first|last|previous) question|(?:who|what) are you"
    r"|are you (?:a |an )?(?:human|robot|bot|ai|machine|real person|real)|how are you"
    r"|was (?:habe ich|hast du) (?:zuerst |eben |gerade )?(?:gefragt|gesagt)|wer bist du"
    r"|(?:etwas |noch |viel )?(?:kürzer|länger|einfacher)(?: fassen| sagen| erklären)?"
    r"|(?:nochmals?|noch einmal|noch mal)|(?:fass|fasse|wiederhole?|kürze|erkläre?|sag|sage)"
    r" (?:das|es|die antwort|unser gespräch)(?: bitte)?(?: (?:kürzer|einfacher|zusammen|nochmal"
    r"|noch einmal|anders|kurz|genauer)){0,2}"
    r"|(?:kannst du|können sie) (?:das|es)(?: bitte)? (?:(?:nochmal|noch einmal|etwas) )?(?:kürzer"
    r"|einfacher|anders|wiederholen|zusammenfassen)(?: fassen| sagen| erklären)?"
    rf"|(?:antworte|schreib|schreibe|antworten sie)(?: mir)?(?: bitte)? {_TONGUE}"
    rf"|übersetze? (?:das|es)(?: bitte)? {_TONGUE}"
    r"|(?:un peu )?(?:plus|moins) (?:court|long|simple|bref)|(?:peux-tu|pouvez-vous)"
    r" (?:le )?(?:répéter|résumer|reformuler|simplifier)|(?:répète|répétez|résume|résumez)"
    r"(?:-le)?|(?:réponds|répondez|écris)(?:-moi)? "
    rf"{_TONGUE}|¿?(?:puedes|podrías|puede) (?:repetirlo|repetir|resumirlo|resumir)(?: eso)?"
    rf"|(?:responde|contesta|escribe) {_TONGUE}|(?:un poco )?(?:más|menos) (?:corto|breve|largo"
    r"|simple)|(?:un po' )?più (?:breve|corto|semplice)|(?:puoi|può) (?:ripetere|riassumere)"
    rf"|rispondi {_TONGUE}|mais (?:curto|breve|simples)|korter|(?:ещё|еще) раз|короче"
    r"|повтори(?:те)?"
    r"|请?(?:再)?(?:简短|短|简单|详细)一?点|请?再说一(?:遍|次)|请?用(?:英语|英文|中文|德语|法语|西班牙语)"
    r"(?:回答|说|写)?(?:一遍)?|请?总结一下|もっと短く|もう一度|短くして"
)
_ASKING = r"(?:please,? |(?:can|could|would|will) you (?:please )?|bitte |por favor,? |请)"
_END = r"[\s,.!…:;)(\-?。！？，~]{0,9}"
_PLEASE = r"(?:,? ?(?:please|bitte|s'il (?:vous|te) plaît|por favor|per favore|пожалуйста))?"

THANKS = re.compile(
    rf"[¡¿]{{0,2}}(?:{_THANKS}|{_PRAISE})(?:\Z|[\s,.!…:;)(\-?。！？，~]{{1,9}})", re.IGNORECASE
)
"""Thanks, praise or blame, which may stand before more of them, or before a wish."""

WISH = re.compile(
    rf"(?:and |but |und |et |y )?{_ASKING}?(?:{_WISHES}){_PLEASE}{_END}", re.IGNORECASE
)
"""What is wished for the answer."""

STATEMENT = re.compile(
    r"(?:(?:that|this|it) [a-z]{2,12}(?<!s)s|you(?! can| could| should)|all|everything"
    r"|(?:das|es) [a-zäöü]{2,15}t|alles|c'est|tout|eso|todo|tutto)\b[^?？]{0,50}",
    re.IGNORECASE,
)
"""What says why one thanks: "Thanks, that clears it up!"."""

ANNOUNCEMENT = re.compile(
    r"\W{0,3}(?:tell me (?:more |something )?about|let's talk about|let us talk about|about"
    r"|regarding|concerning|(?:i|we)(?:'m| am|'re| are)? (?:want to use|would like to use|use"
    r"|using|writing|building|running|working (?:on|with)|deploying|developing|setting up))\b"
    r"[^?]{1,300}\Z",
    re.IGNORECASE,
)
"""A turn that asks nothing and says what the next ones are about, in English."""

COURTESY = re.compile(
    rf"\A\s{{0,9}}(?:(?:{_THANKS}|yes|right|ja|oui|sí|sì)"
    r"(?: for [\w ]{1,30})?[\s,.!]{1,9}){1,3}(?=\w)",
    re.IGNORECASE,
)
"""What may stand before a question and is no part of it."""

MEASURE = re.compile(
    r"\b(?:than|costs?|works?|means?|happens?|meant|mean|faster|slower|cheaper|bigger|smaller|larger"
    r"|longer|shorter|older|newer|better|kostet|kosten|dauert|meinte|schneller|billiger|größer"
    r"|coûte|coûtent|cuesta|cuestan|costa|costano|custa|custam|kost|стоит|стоят)\b",
    re.IGNORECASE,
)
"""Words that ask for something, which documents tell by a figure rather than by these words."""
