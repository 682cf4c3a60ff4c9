"""What shows that a message speaks about the conversation: thanks, praise, blame and wishes."""

from __future__ import annotations

import re

_THANKS = (
    r"(?:many )?thanks(?: a lot| so much| again| very much| a million| anyway)?|no,? thanks"
    r"|(?:no,? )?thank you(?: so much| very much| a lot)?|thx|ty|cheers|(?:ok(?:ay)?|great|perfect"
    r"|cool|nice|awesome|excellent|super|good(?! [mean])|fine|alright|brilliant|wonderful"
    r"|lovely|wow|lol|haha|amazing|fantastic|neat|interesting|sure|exactly|indeed|noted|gotcha)"
    r"|(?:much |really )?appreciated|sounds good|fair enough|good to know|will do|nice one|well"
    r" done"
    r"|no worries|have a (?:nice|good|great) (?:day|one|evening|weekend)|problem solved"
    r"|that(?:'?s| is| was| will be|'ll be) (?:all|it)(?: (?:i|we) (?:need|needed|wanted)(?: to"
    r" know)?)?"
    r"(?: for (?:now|today))?|(?:nothing|no|no more|no further) (?:else|questions?)(?: for now)?"
    r"|(?:i'll|i will|let me) (?:try|check|test|do) (?:it|that|this)(?: out)?|(?:found|got|forget)"
    r" it"
    r"|(?:(?:it|that|this|everything) )?(?:all )?(?:works?|worked|did (?:it|the trick)|solved(?:"
    r" it)?"
    r"|fixed(?: it)?)(?: (?:now|fine|again|great|well|perfectly|for me|like a charm))*"
    r"|got it|i see|understood|makes sense|never ?mind|no problem|(?:good)?bye|see you(?: later)?"
    r"|h+m+|u+h+|u+m+|o+h+|a+h+|aha|hello|hi|hey|good (?:morning|evening|afternoon|night)"
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
_BARE = "right|yes|yep|yeah|yup|nope|nah|no|k+|well|wait|sorry|please|pls|plz|now|help"
_PRAISE = (
    r"(?:that|this|it)(?:'s| is| was| has been| helps?| helped| answers?| answered| works?| worked"
    r"| makes)(?: (?:me|my|all|it|so|very|really|exactly|just|quite|a|lot|great|perfect(?:ly)?"
    r"|helpful|useful|good|clear|right|sense|what|i|needed|wanted|asked|meant|question|for|now|not"
    r"|wrong"
    r"|incorrect|unclear|too|much|long|short|complicated)){0,6}"
    r"|(?:exactly |just )?what i (?:needed|wanted|was looking for)"
    r"|very (?:helpful|useful|kind|good)"
    r"|you(?:'re| are| were| have been) (?:very |so |really )?(?:kind|helpful|great|right|wrong)"
    r"|you(?:'re| are) (?:just |only |always )?repeating yourself|you (?:keep|are) saying (?:that"
    r"|this|the same(?: thing)?)"
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
    r"|(?:(?:remind me|tell me)(?: again)? )?(?:what|which|where|when|who|why|how)(?:"
    r" [a-z]{2,15})? did"
    r" (?:you|i) (?:just )?(?:say|ask|answer|write|mention|call|tell me)(?: [^\s?]{1,30}){0,10}"
    r"|(?:what|which) was my (?:first|last|previous) question|(?:who|what) are you"
    r"|(?:are )?(?:you|u) (?:really |quite |absolutely )?(?:sure|certain|serious|kidding)"
    r"(?: (?:about|of|that|it|this|its|it's|they|he|she)(?: [^\s?]{1,30}){0,7})?|really|(?:is"
    r" (?:that|this|it)|isn't that) (?:really |actually )?(?:right"
    r"|correct|true"
    r"|accurate)|what do you mean(?: by (?:that|this|it))?|how do you know(?: that| this)?"
    r"|where did you (?:get|find|read|see) (?:that|this|it)(?: from)?|what can you do"
    rf"|(?:do|can) you (?:speak|understand) {_LANGUAGES}|who (?:made|built|wrote) you"
    r"|(?:i think )?you (?:did not|didn't|have not|haven't) answer(?:ed)? (?:my|the) question"
    r"|(?:one more time"
    r"|once more|again)"
    r"|are you (?:a |an )?(?:human|robot|bot|ai|machine|real person|real)|how are you"
    r"|bist du (?:dir )?(?:da )?(?:ganz )?sicher|sind sie sicher|wirklich|(?:stimmt"
    r"|ist) das (?:wirklich )?"
    r"(?:richtig|wahr|korrekt)?|(?:tu es|êtes-vous|vous êtes) sûr|vraiment|c'est vrai"
    r"|¿?(?:estás|está) segur[oa]|¿?de verdad|¿?en serio"
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
_PLEASE = (
    r"(?:,? ?(?:please|pls|plz|bitte|s'il (?:vous|te) plaît|por favor|per favore|пожалуйста))?"
)

THANKS = re.compile(
    rf"[¡¿]{{0,2}}(?:{_PRAISE}|{_THANKS}|{_BARE})(?:\Z|[\s,.!…:;)(\-?。！？，~]{{1,9}})",
    re.IGNORECASE,
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

COURTESY = re.compile(
    rf"\A\s{{0,9}}(?:{_THANKS}|yes|right|ja|oui|sí|sì)"
    r"(?: for [\w ]{1,30})?[\s,.!]{1,9}(?=\w)",
    re.IGNORECASE,
)
"""What may stand before a question, also more than once, and is no part of it."""

REACTION = re.compile(
    r"\A\s{0,9}(?:(?:really|wow|oh(?: no)?|ah|h+m+|u+h+m*|ouch|yikes|hooray|great|good|cool|nice"
    r"|fine|interesting|well|no way|so what|who knew|of course|i understand|cool science"
    r"|good question|too bad|what a pity|what a shame)"
    r"|(?:that|this|it)(?:'?s| is| was| sounds| looks| seems)(?: so| very| really| quite| pretty"
    r"| rather| too| all)? (?:interesting|great|good|nice|cool|awesome|helpful|useful|perfect"
    r"|fine|clear|bad|sad|awful|terrible|a pity|a shame|annoying|surprising|amazing|fascinating"
    r"|lovely|right|true|good to know|strange|odd|funny|fair))[\s,]{0,3}[.!?…]{1,3}\s{1,9}(?=\w)",
    re.IGNORECASE,
)
"""How an answer is taken, which says nothing of what is asked next."""

MOST_COURTESIES = 3

_ABOUT_WORDS = (
    r"(?:repeat|rephras|reword|summari[sz]|translat|paraphras|explain|clarif|simplif|shorten|answer"
    r"|repl[iy]|convinc|confus|understand|understood|apologi[sz])[a-z]{0,4}"
    r"|say|said|phrase[ds]?|putt?(?:ing)?|sentences?|questions?|summary|tl;?dr|jargon|sure|certain"
    r"|positive|doubt(?:ful)?|mistaken|wrong|incorrect|nonsense|rubbish|unclear|helpful|unhelpful"
    r"|useless|afraid|kidding|joking|thank(?:s| you)|thx|cheers|appreciate[ds]?|misunderst(?:and"
    r"|ood)|nutshell"
    r"|weird|vague|complicated|makes? (?:no |more )?sense|you lost me|eli5|come again|pardon|huh"
    r"|seriously"
    r"|respond(?:ed|ing)?|response|formal|sum|(?<=\bas a )(?:list|table)|bullets?|(?<=\bin a )list"
    r"|told|like (?:i'm|im|i was) (?:five|5|a child)|how (?=sure)"
    r"|(?:not|(?:can|is|was|does|do)(?:n't|nt|not)|can't) (?:be |sound |look |seem )?(?:right|true"
    r"|correct)"
    rf"|(?<=\bin ){_LANGUAGES}|(?<=\binto ){_LANGUAGES}"
)
_PLAIN_WORDS = (
    r"i|im|me|my|you|u|ya|your|yours|ur|we|us|it|its|that|thats|this|these|those|them|the|an?|is"
    r"|are"
    r"|was|were|am|be|been|being|do|does|did|don't|doesn't|didn't|isn't|wasn't|aren't|can't|cannot"
    r"|not"
    r"|can|could|would|will|should|might|may|have|has|had|mind|to|of|for|in|into|as|with|without"
    r"|about"
    r"|on|at|from|and|or|but|so|if|then|than|because|what|why|really|very|quite|rather|just|still"
    r"|yet"
    r"|again|once|more|less|much|little|bit|please|pls|plz|kindly|sorry|ok|okay|hm+|well|oh|ah|hey"
    r"|no"
    r"|yes|yeah|now|too|also|up|fast|quick|know|knew|who|maybe|perhaps|actually|honestly|all|any"
    r"|some|only|even|one|two|three|few"
    r"|several|single|other|another|different|last|first|previous|same|good|great|nice|better|best"
    r"|bad"
    r"|short|shorter|long|longer|brief|briefer|briefly|simple|simpler|simply|plain|easy|easier"
    r"|easily"
    r"|clear|clearer|clearly|precise|exact|exactly|concise|formal|polite|normal|everyday|own|words?"
    r"|lines?|way|terms?|version|part|list|table|bullets?|points?|language|give|gave|make|made"
    r"|write"
    r"|wrote|written|tell|told|ask|asked|asking|try|think|thought|believe|guess|feel|seems?|sounds?"
    r"|looks?|get|got|want|wanted|need|needed|like|hoped|expected|meant|help|helped|there|here"
    r"|you're"
    r"|i'm|that's|it's|i've|you've|i'd|what's|let's|time|anymore|at all|right|true|correct|fine"
)
OF_THE_ANSWER = re.compile(
    rf"\W*+(?:(?:{_ABOUT_WORDS}|{_PLAIN_WORDS})(?![\w'])\W*+)++\Z", re.IGNORECASE
)
"""A message with no word but those that speak of what has been said."""

SPEAKS_OF_IT = re.compile(rf"(?<![\w'])(?:{_ABOUT_WORDS})(?![\w'])", re.IGNORECASE)
"""A word of what has been said, which the others alone do not show."""

ASKS_HOW = re.compile(
    r"\b(?:can|could|do|may|must|should|will|would|if|when) (?:i|we)\b(?! (?:have|get) (?:it|that"
    r"|this))"
    r"|\A\W*(?:is|are|was|were|does|do|did|has|have) (?:it|they|he|she|there)\b",
    re.IGNORECASE,
)
"""What one does oneself, and what "it" is like, is nothing of the answer."""

REASON = re.compile(
    r"(?:(?<=[?.!,;]) ?| )(?:it'?s for|it is for|because|since|as i|i was told|i heard|i thought|i"
    r" read"
    r"|somebody told me|someone told me|my \w{2,20} (?:says?|said|told me)"
    r"|i (?:find (?:it|this|that) (?:too |very |really |so )?(?:hard|difficult)|can(?:'t|not)"
    r" (?:read|follow)))\b[^?]{1,80}\Z",
    re.IGNORECASE,
)
"""Why something is said of the answer, at the end."""
