"""What shows, by language, that a message goes on from earlier ones, or speaks about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Cues(NamedTuple):
    """What shows in a language that a question goes on from what was said before.

    How it opens, words anywhere in it, pronouns without a noun before them (`named`), and fragments
    without a verb. `expletive` is what only looks like one of these.
    """

    opening: re.Pattern[str]
    anywhere: re.Pattern[str]
    pronoun: re.Pattern[str]
    named: re.Pattern[str]
    fragment: re.Pattern[str]
    expletive: re.Pattern[str]
    is_unspaced: bool = False


_NEVER = r"(?!)"

_BY_LANGUAGE: Mapping[str, Mapping[str, str]] = {
    "en": {
        "opening": (
            r"and|or|but|what about|how about|same for|then|else|why\W{0,3}\Z|why not|how so"
            r"|how come\W{0,3}\Z|no[,.]|nope|sorry|actually|i mean|i meant|not (?:the|a|that"
            r"|for)|rather|(?:is|are|was|were|does|do|did|can|could|would|will|should|has"
            r"|have) (?:this|that|these|those)(?! (?:who|with|which|week|month|year|morning"
            r"|evening|afternoon|weekend|page|site|document|manual|handbook|text|website))"
        ),
        "anywhere": (
            r"(?:in|for|of|with|about|after|before|from|to|on|by|at|like|than"
            r"|without) (?:this|that|these|those)(?! (?:week|month|year|morning|evening"
            r"|afternoon|weekend|page|site|document|manual|handbook|text|website|who|i|we"
            r"|you|are|is))|(?:what|who|where|when|why|how|which)(?:'s| is| are| does| do"
            r"| did| was| would| can| about| will)? (?:this|that|these|those)(?! (?:week"
            r"|month|year|page|site|document|manual|handbook|text|website))|(?:do|use|change"
            r"|get|set|see|have|fix|undo|avoid|prevent|disable|enable|turn|make|find|reach"
            r"|need|send|reset|stop|start|open|cancel|pay|book) (?:this|that|these"
            r"|those)\b(?! (?:week|month|year|page|site|document|manual|handbook|text"
            r"|website))|(?:these|those) (?!who|that|with|which)[a-z]+|(?:this|that|these"
            r"|those)\W{0,3}\Z"
            r"|(?<!is )(?<!are )(?<!was )(?<!were )(?<!will )(?<!if )there(?! (?:is|are|was"
            r"|were|a|an|any|be|will|may|some|no|have|has|had|can|must|should)\b)(?!'s)"
            r"|instead(?! of)|otherwise|as well(?! as)|in that case|the same(?:\W{0,3}\Z"
            r"| (?:for|true|with|apply|applies|price|rules?|way\W{0,3}\Z))|the (?:other one"
            r"|others|former|latter|first one|second one|last one|rest\W{0,3}\Z)|differently"
            r"|afterwards|else\W{0,3}\Z"
            r"|the costs?\W{0,3}\Z"
            r"|the (?:[a-z]{3,12} )?(?:price|prices|fee|fees|deadline|default|limit"
            r"|maximum|minimum|size|length|weight|height|capacity|address|phone number|number"
            r"|opening hours|hours|duration|difference|reason|advantages?|disadvantages?"
            r"|alternatives?|exceptions?|requirements?|purpose|result|steps)\W{0,3}\Z"
        ),
        "pronoun": (
            r"it|its|itself|they|them|their|theirs|themselves|he|she|him|her|hers|his|(?:too"
            r"|either|also)\W{0,3}\Z|which one|another one|ones?\W{0,3}\Z|(?:book|buy|get"
            r"|order|need|rent|use|have|bring|take|find|make|add|see) one(?! of| to)|(?:a"
            r"|any|every|each|no|[a-z]{3,12}er|small|large|big|cheap|new|old|good|long"
            r"|short) ones?"
        ),
        "named": (
            r"(?i:a|an|the|my|our|your|this|each|every|any|some|another|one|no|two|three"
            r"|those|all|(?:which|what|whose|how many|how much)(?! (?:is|are|was|were|does"
            r"|do|did|can|could|would|will|should|has|have|about|if|happens|to"
            r"|else)\b)) [\w'-]{2}|\A\W{0,3}[\w-]{1,30}:|(?<=[a-z,] )[A-Z][\w-]{2}"
            r"|\w[_./]\w|\b[a-z]{3,20}s\b(?= (?:are|were|do|have|when|if|and))"
            r"|\A\W{0,3}[a-z]{4,20} (?:is|are|was|were|does|has)\b"
        ),
        "fragment": (
            r"(?:for|in|with|without|on|at|to|from|only|even|more|less|just|by|until|since"
            r"|under|over) \S|(?:the|a|an|my"
            r"|our) [\w'-]{2,30}(?: [\w'-]{2,30}){0,2}\W{0,3}\Z"
        ),
        "expletive": (
            r"(?:is|was|would|will|be) it (?:possible|ok|okay|allowed|necessary|safe|true"
            r"|worth|time|better|free|enough|permitted|legal|required|important|normal"
            r"|dangerous|easy|hard|difficult)|it(?:'s| is| was) (?:possible|allowed"
            r"|necessary|safe|true|better|required|important|raining|snowing|cold|hot|dark"
            r"|late|early)|(?:does|do|will|would|did|can|could) it (?:cost|take|matter|rain"
            r"|snow|happen|mean)(?! (?:away|off|in|out|up|back)\b)(?=[^?.!]{0,60} (?:to|if"
            r"|when)\b)|does it mean for|it (?:takes|costs|rains|snows|matters|happens)"
            r"|in order that|so that|now that|and/or|how is it that"
        ),
    },
    "de": {
        "opening": (
            r"und|oder|aber|auch|dann|was ist mit|wie (?:sieht|steht) es|warum\W{0,3}\Z"
            r"|wieso\W{0,3}\Z|nein|doch|eigentlich|ich meine?"
        ),
        "anywhere": (
            r"(?:davon|dafür|damit|dazu|darauf|darin|daran|dabei|daraus|dagegen|danach|davor"
            r"|dort|dorthin|dessen|deren|stattdessen|ansonsten|ebenfalls|dasselbe|derselbe"
            r"|dieselben?|hingegen)|(?:diese[rsnm]?|jene[rsnm]?)(?! (?:woche|monats?|jahr"
            r"|jahres|seite|handbuch|dokument))|(?:ist|geht|gilt|kostet|dauert|heißt|macht"
            r"|war|wird|kann|muss|darf) (?:das|dies)(?! \w)|(?:ist|geht|gilt|kostet|dauert"
            r"|heißt|macht|war|wird|kann|muss|darf) das (?:auch|nicht|noch|denn|immer"
            r"|möglich|erlaubt|dann)|das\W{0,3}\Z|(?:auch|sonst|wieder)\W{0,3}\Z"
        ),
        "pronoun": r"er|ihn|ihm|ihnen|es|seine?[rnms]?",
        "named": (
            r"(?:der|die|das|den|dem|des|ein|eine[rnms]?|mein\w{0,4}|unser\w{0,4}|ihr\w{0,4}"
            r"|kein\w{0,4}) [\w-]{2}"
        ),
        "fragment": (
            r"(?:für|in|im|mit|ohne|am|an|auf|zu|zum|zur|von|vom|nur|bei|bis|ab|der|die"
            r"|das) \S"
        ),
        "expletive": (
            r"(?:gibt|gäbe) es|es (?:gibt|gäbe)|(?:ist|wäre|wird) es (?:möglich|erlaubt"
            r"|nötig|sicher|wahr|besser|notwendig)|es ist|(?:kostet"
            r"|dauert) es(?=[^?.!]{0,60} zu\b)|geht es um|regnet es|es regnet"
        ),
    },
    "fr": {
        "opening": (r"et|ou|mais|alors|qu'en est-il|pourquoi\W{0,3}\Z|non|en fait|je veux dire"),
        "anywhere": (
            r"ça|cela|ceci|celui|celle|ceux|celles|là-bas|là-dedans|celui-ci|celle-ci"
            r"|dans ce cas|sinon|à la place|(?:le|la|les) mêmes?|(?:cet|cette"
            r"|ces) (?!semaine|année|page)[\w-]+|aussi\W{0,3}\Z"
        ),
        "pronoun": r"il|elle|ils|elles|lui|leur",
        "named": (r"(?:le|la|les|l'|un|une|des|mon|ma|mes|notre|nos|votre|vos|du) ?[\w-]{2}"),
        "fragment": r"(?:pour|dans|avec|sans|sur|à|au|aux|de|du|chez|le|la|les) \S",
        "expletive": (
            r"(?:est-ce|qu'est-ce) qu[e']|y a-t-il|il y a|faut-il|il faut|est-il (?:possible"
            r"|permis)"
        ),
    },
    "es": {
        "opening": (
            r"y|o|pero|entonces|también|no[,.]|en realidad|quiero decir|¿?por qué\W{0,3}\Z"
        ),
        "anywhere": (
            r"eso|esto|ese|esa|esos|esas|aquello|allí|ahí|ello|en ese caso|si no|en cambio"
            r"|también\W{0,3}\Z|(?:el|la|los|las) mism[oa]s?|(?:este|esta|estos"
            r"|estas) (?!semana|mes|año|página)[\w-]+"
        ),
        "pronoun": r"él|ella|ellos|ellas|lo|le|les",
        "named": r"(?:el|la|los|las|un|una|mi|mis|nuestr\w{1,5}|su|sus) [\w-]{2}",
        "fragment": (r"(?:para|en|con|sin|sobre|a|al|de|del|desde|hasta|solo|el|la|los|las) \S"),
        "expletive": r"lo que|¿?es posible",
    },
    "it": {
        "opening": r"e|o|ma|allora|anche|perché\W{0,3}\Z|no[,.]|in realtà|voglio dire",
        "anywhere": (
            r"ciò|questo\W{0,3}\Z|quest[aoie] (?!settimana|mese|anno|pagina)[\w-]+"
            r"|quell[aoie]|lì|là|esso|essa|essi|invece|in tal caso|altrimenti|(?:lo|la|gli"
            r"|le) stess[oaie]|anche\W{0,3}\Z"
        ),
        "pronoun": r"lui|lei|loro|lo|li",
        "named": r"(?:il|lo|la|i|gli|le|un|uno|una|mio|mia|nostr\w{1,5}) [\w-]{2}",
        "fragment": r"(?:per|in|con|senza|su|a|al|di|del|da|solo|il|la) \S",
        "expletive": r"è possibile",
    },
    "pt": {
        "opening": r"e|ou|mas|então|também|por quê\W{0,3}\Z|não[,.]|na verdade|quero dizer",
        "anywhere": (
            r"isso|isto|aquilo|ali|lá|ele|ela|eles|elas|nesse caso|senão|(?:o|a|os"
            r"|as) mesm[oa]s?|(?:ess[ea]s?|est[ea]s?) (?!semana|mês|ano|página)[\w-]+"
            r"|também\W{0,3}\Z"
        ),
        "pronoun": _NEVER,
        "named": _NEVER,
        "fragment": r"(?:para|em|no|na|com|sem|sobre|a|ao|de|do|da|só|o) \S",
        "expletive": r"é possível",
    },
    "nl": {
        "opening": (r"en|maar|dan|en wat|hoe zit het|waarom\W{0,3}\Z|nee|eigenlijk|ik bedoel"),
        "anywhere": (
            r"daarvan|daarvoor|daarmee|daarna|daarop|daarin|daar|ervan|ervoor|ermee|erin"
            r"|dezelfde|hetzelfde|anders\W{0,3}\Z|(?:dit|deze) (?!week|maand|jaar"
            r"|pagina)[\w-]+|dat\W{0,3}\Z|ook\W{0,3}\Z"
        ),
        "pronoun": r"hij|hem|ze|zijn",
        "named": r"(?:de|het|een|mijn|onze?|uw|jouw) [\w-]{2}",
        "fragment": r"(?:voor|in|met|zonder|op|aan|naar|van|bij|alleen|de) \S",
        "expletive": r"is het mogelijk|zijn er",
    },
    "ru": {
        "opening": r"а|и|но|или|тогда|почему\W{0,3}\Z|нет,|то есть",
        "anywhere": (
            r"он|она|оно|они|его|её|ее|их|ему|ей|им|ними|этот|эта|эти|этого|этой|этих|этом"
            r"|там|туда|тот же|то же|в этом случае|иначе|это\W{0,3}\Z"
        ),
        "pronoun": _NEVER,
        "named": _NEVER,
        "fragment": r"(?:для|в|на|с|без|к|у|по|до) \S",
        "expletive": _NEVER,
    },
}

_UNSPACED: Mapping[str, str] = {
    "zh": (
        r"\A\W{0,3}(?:那|还有|但是|可是|或者|而)|它|他们|她们|这个|那个|这些|那些|这种|那种|那里|这样"
        r"|呢\W{0,3}\Z"
    ),
    "ja": (
        r"\A\W{0,3}(?:では|じゃあ|それで|でも|また|そして)|それ|その|そこ|そちら|これ|この場合|あれ|同じ"
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
            fragment=re.compile(_FIRST.format(cues["fragment"]), re.IGNORECASE),
            expletive=re.compile(_ANYWHERE.format(cues["expletive"]), re.IGNORECASE),
        )
        for language, cues in _BY_LANGUAGE.items()
    },
    **{
        language: Cues(
            _NOTHING, re.compile(pattern), _NOTHING, _NOTHING, _NOTHING, _NOTHING, is_unspaced=True
        )
        for language, pattern in _UNSPACED.items()
    },
}
"""By language; of a language without an entry none are known."""

_THANKS = (
    r"(?:many |ok(?:ay)?,? )?thanks(?: a lot| so much| again| very much)?"
    r"|thank you(?: so much| very much)?|thx|ty|(?:ok(?:ay)?|great|perfect|cool|nice"
    r"|awesome|excellent|super|good|fine|alright)|got it|i see|understood|that(?:'s| is"
    r"| was) (?:great|perfect|helpful|all|it|good|clear)|(?:good)?bye|hello|hi|hey"
    r"|(?:vielen |besten |herzlichen )?dank(?:e)?(?: schön| sehr)?|alles klar|verstanden"
    r"|tschüss|merci(?: beaucoup| bien)?|parfait|d'accord|au revoir|(?:muchas )?gracias"
    r"|perfecto|vale|entendido|grazie(?: mille)?|perfetto|capito|(?:muito )?obrigad[oa]"
    r"|bedankt|dank je(?: wel)?|спасибо|понятно|谢谢|多谢|好的"
    r"|ありがとう(?:ございます)?|わかりました|了解"
)
_LANGUAGES = (
    r"(?:english|german|french|spanish|italian|portuguese|dutch|russian|chinese|japanese"
    r"|arabic|deutsch|englisch|französisch|spanisch|italienisch|anglais|allemand|français"
    r"|espagnol|inglés|alemán|francés|español|inglese|tedesco|francese|italiano)"
)
_WISHES = (
    r"(?:make (?:it|that) |a bit |much |even )?(?:shorter|longer|simpler|briefer"
    r"|more briefly|in short)|(?:now |again |and )?(?:in|into|to|auf|en|in het"
    r"|em) (?:english|german|french|spanish|italian|portuguese|dutch|russian|chinese"
    r"|japanese|arabic|deutsch|englisch|französisch|spanisch|italienisch|anglais|allemand"
    r"|français|espagnol|inglés|alemán|francés|español|inglese|tedesco|francese|italiano)"
    r"|(?:say|write|repeat|rephrase|translate|summari[sz]e|explain) (?:it|that|this"
    r"|your (?:last )?answer)(?: again| once more| (?:more )?(?:simply|briefly)"
    r"| differently| in other words| (?:in|into|to) (?:english|german|french|spanish"
    r"|italian|portuguese|dutch|russian|chinese|japanese|arabic|deutsch|englisch"
    r"|französisch|spanisch|italienisch|anglais|allemand|français|espagnol|inglés|alemán"
    r"|francés|español|inglese|tedesco|francese|italiano)| in (?:one|two|a few"
    r"|three) (?:sentences?|words|lines)){0,2}|(?:repeat|rephrase|translate"
    r"|summari[sz]e)(?: our conversation| the conversation)?|(?:what|why) did (?:you"
    r"|i) (?:just )?(?:say|ask|answer|write)(?: before| first| last)?|(?:what"
    r"|which) was my (?:first|last|previous) question|(?:bitte )?(?:kürzer|länger"
    r"|einfacher)|(?:nochmals?|noch einmal)(?: bitte)?|(?:fass|fasse) (?:das|es) zusammen"
    r"|übersetze? (?:das|es) ins? (?:english|german|french|spanish|italian|portuguese"
    r"|dutch|russian|chinese|japanese|arabic|deutsch|englisch|französisch|spanisch"
    r"|italienisch|anglais|allemand|français|espagnol|inglés|alemán|francés|español"
    r"|inglese|tedesco|francese|italiano)|(?:plus|moins) (?:court|long|simple|bref)|(?:más"
    r"|menos) (?:corto|breve|largo|simple)|(?:más|più) (?:breve|corto|semplice)|короче|短一点"
    r"|简短一点|もっと短く"
)

REMARK = re.compile(
    rf"(?:(?:{_THANKS})[\s,.!…:)]{{0,9}}){{1,3}}"
    rf"|(?:(?:{_THANKS})[,.!]? {{0,3}})?"
    r"(?:please |can you (?:please )?|could you (?:please )?|bitte )?"
    rf"(?:{_WISHES})(?:,? (?:please|bitte|s'il (?:vous|te) plaît|por favor|per favore))?"
    r"[\s.!?。！？]{0,9}",
    re.IGNORECASE,
)
"""A whole message about the conversation."""

ANNOUNCEMENT = re.compile(
    r"\W{0,3}(?:tell me (?:more |something )?about|let's talk about|let us talk about|about"
    r"|regarding|concerning|(?:i|we)(?:'m| am|'re| are)? (?:want to use|would like to use|use"
    r"|using|writing|building|running|working (?:on|with)|deploying|developing|setting up))\b"
    r"[^?]{1,300}\Z",
    re.IGNORECASE,
)
"""A turn that asks nothing and says what the next ones are about, in English."""

COURTESY = re.compile(
    rf"\s{{0,9}}(?:(?:{_THANKS}|yes|right|ja|oui|sí|sì)"
    r"(?: for [\w ]{1,30})?[\s,.!]{1,9}){1,3}(?=\w)",
    re.IGNORECASE,
)
"""What may stand before a question and is no part of it."""
