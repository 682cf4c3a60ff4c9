"""Scripts and stop words: enough to detect languages and to drop words without content.

The lists hold each language's commonest function words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

SAMPLE_CHARACTERS = 4000

MAX_VOTES_OF_A_WORD = 3

LETTERS_IN_AN_IDEOGRAPH = 3
"""Weight of a Chinese, Japanese or Korean character, so that Latin names do not outnumber it."""

_SCRIPTS: Mapping[str, str] = {
    "ja": "\u3040-\u30ff",
    "ko": "\uac00-\ud7af\u1100-\u11ff",
    "zh": "\u4e00-\u9fff\u3400-\u4dbf",
    "th": "\u0e00-\u0e7f",
    "lo": "\u0e80-\u0eff",
    "my": "\u1000-\u109f",
    "km": "\u1780-\u17ff",
    "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "ta": "\u0b80-\u0bff",
    "he": "\u0590-\u05ff",
    "el": "\u0370-\u03ff",
    "ka": "\u10a0-\u10ff",
    "hy": "\u0530-\u058f",
    "cyrillic": "\u0400-\u04ff",
    "arabic": "\u0600-\u06ff",
    "latin": "a-zA-Z\u00c0-\u024f\u1e00-\u1eff",
}
_SCRIPT = re.compile("|".join(f"(?P<{name}>[{span}])" for name, span in _SCRIPTS.items()))
_BY_STOP_WORDS: Mapping[str, tuple[str, ...]] = {
    "latin": ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl", "tr", "ro", "vi"),
    "cyrillic": ("ru", "uk"),
    "arabic": ("ar", "fa"),
}

_LISTS = {
    "en": "a about after all also am an and any are as at be because been before being but by can "
    "could did do does doing for from had has have having he her here him his how i if in into is "
    "it its itself just many may me might more most much must my no nor not of on once only or "
    "other our out over own shall she should so some such than that the their them then there "
    "these they this those through to too under until up us very was we were what when where "
    "which while who whom whose why will with would you your",
    "de": "aber alle als also am an auch auf aus bei bin bis bist da damit dann das dass dem den "
    "denn der des die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem "
    "einen einer eines er es für hat hatte hatten habe haben ich ihr ihre ihrem ihren ihrer im in "
    "ist ja kann können man mehr mit nach nicht noch nur ob oder ohne sein seine seinem seinen "
    "seiner sehr sich sie sind so über um und uns unter vom von vor war waren warum was weil "
    "welche welchem welchen welcher welches wenn wer werden wie wird wo wurde wurden zu zum zur "
    "wem wen wann wieviel viele",
    "fr": "à ai au aux avait avec avoir c ce ces cet cette comme comment d dans de des donc du elle "
    "elles en est et été être eux il ils j je l la le les leur leurs lui m ma mais me même mes mon "
    "n ne nos notre nous on ont ou où par pas plus pour pourquoi qu quand que quel quelle quelles "
    "quels qui quoi s sa sans se ses si son sont sur t ta te tes toi ton tu un une vos votre vous y "
    "combien",
    "es": "a al algo como con cómo cuál cuáles cuándo cuánto cuánta cuántos cuántas de del desde "
    "dónde donde e el él ella ellas ellos en entre era es esa ese eso esta estaba este esto está "
    "están fue fueron ha había han hasta hay la las le les lo los más me mi muy ni no nos o para "
    "pero por porque que qué quién quiénes se ser si sin sobre son su sus también te tiene u un una "
    "unas uno unos y ya",
    "it": "a ad ai al alla alle allo anche che chi ci come con così cosa cui da dal dalla dalle de "
    "degli dei del della delle dello di dove e ed è era erano fu gli ha hanno i il in io l la le lo "
    "loro lui ma mi ne nei nel nella nelle noi non o per perché più qual quale quali quando quanti "
    "quanto quella quelle quelli quello questa queste questi questo se si sono su sua sue sugli sul "
    "sulla suo suoi tra tu un una uno",
    "pt": "a ao aos as até com como da das de dela dele do dos e é ela ele eles em entre era essa "
    "esse esta este eu foi foram há isso isto já lhe mais mas me mesmo muito na não nas nem no nos "
    "o os ou para pela pelas pelo pelos por porque qual quais quando quanto quantos que quem se sem "
    "ser seu seus só sua suas são também te tem um uma você onde",
    "nl": "aan al als bij dan dat de den der deze die dit door een en er geen had hadden hebben heeft "
    "het hij hoe hoeveel hun ik in is je kan maar me meer met mijn na naar niet nog nu of om ook op "
    "over te tot uit van veel voor waar waarom wanneer was wat we wel welke werd wie wij worden "
    "wordt zal ze zich zij zijn zo zou",
    "sv": "alla att av de dem den denna deras dess det detta dig din du där då efter ej eller en er "
    "ett från för ha hade han hans har hennes hon honom hur hör i icke inte jag kan man med mellan "
    "men mig min mot mycket ni nu när och om oss på sedan sig sin sina skall som så till under upp "
    "ut var vad varför vem vi vid vilka vilken vilket är över",
    "pl": "a aby ale ani bo być był była było były by co czy dla do gdy gdzie go i ich ile im jak "
    "jaka jaki jakie jako jest jej jego już kiedy kto która które którego którym który lub ma mi "
    "mnie może na nad nie niż o od on ona one oni oraz po pod przed przez przy się są ta tak także "
    "te tego tej ten to tu tym tylko w we wszystko z za ze że dlaczego",
    "tr": "acaba ama ancak bir biri birkaç biz bu bunu bunun çok çünkü da daha de defa diye en gibi "
    "hangi hem hep her hiç için ile ise kaç kadar ki kim kimin mi mı mu mü nasıl ne neden nedir "
    "nerede nereye niçin o olan olarak oldu olduğu olduğunu on onlar onu onun sen siz şey şu tüm "
    "var ve veya ya yani zaman",
    "ro": "a acea aceasta această acest aceste acestea al ale am ar are au avea avut ca care cărei "
    "căror ce cea cei cel cele cine cu cum când câte câți dar de decât deja despre din dintre după "
    "e ea ei el ele era este eu fi fie fost fără iar în între își la le li lor lui mai mult nu o "
    "ori pe pentru prin sa sau se si și sunt său un una unde unei unor unui unul va vor",
    "vi": "ai bao bị bởi các cái cho có của cùng cũng đã đang đây để đến đó do được gì hay hoặc hơn "
    "khi không là lại làm lên mà mỗi một này nào nên nếu những như nhưng nhiều nơi ở ra rằng rất "
    "sao sau sẽ tại thế thì theo trên trong từ và vào vẫn vì việc với về đâu",
    "ru": "а без был была были было быть в вам вас весь во вот все всё всех вы где да для до его ее "
    "её если есть еще же за здесь и из или им их к как какая какие каким какого какое какой ко "
    "когда кто ли либо между мне много может мы на над не него нее нет ни них но ну о об однако он "
    "она они оно от по под почему при с сколько со так также такой там те тем то того тоже той "
    "только том ты у уже чем через что чтобы чье чья эта эти это этого этой этом этот я",
    "uk": "а але б без був була були було в вже ви від він вона вони воно все до для є з за і із їх "
    "його її й коли кого які який яка яке на не ні о по при про під та так також те ти то у хто це "
    "цей ця чи чому що щоб як",
    "ar": "أ أم أن أنه أو أي أين إذا إلا إلى إن التي الذي الذين اللذين ب بعد بعض بين تلك ثم حتى حيث "
    "خلال ذلك ذات ضد عن عند على عليه عليها غير ف في فيه فيها قبل قد ك كان كانت كل كم كما كيف ل لا "
    "لم لماذا لن له لها لو ليس ما ماذا متى مع من منذ منه منها هذا هذه هل هم هن هو هي هناك و وقد "
    "ولا وهو وهي يكون",
    "fa": "از است اگر اما ان این با باید بر برای به بود تا تر چه چرا چند چون چگونه خود دارد در را "
    "شد شده شود کجا کدام که کی ما من می نه نیز نیست ها های هر هم همه و یا یک",
    "hi": "अपना अपनी अपने इन इस इसका इसकी इसके इसे उन उनका उनकी उनके उस उसका उसकी उसके उसे एक और "
    "कब कर करता करते करने कहाँ कहां का कि किस किसने किसका की कितना कितनी कितने के को कौन कौनसा क्या "
    "क्यों कैसे गया गई गए जब जा जाता जिस जिसका जिसे जो तक तथा तो था थी थे द्वारा नहीं ने पर में मैं "
    "यह यहाँ या ये लिए वह वे सकता से हुआ हुई हुए हूँ है हैं हो होता होती होने",
    "el": "από αυτή αυτό αυτός για δεν είναι ένα ένας η ή ήταν θα και κατά με μετά μια μία να ο οι "
    "όπου όπως ότι πόσα πόσο πόσοι ποια ποιες ποιο ποιοι ποιος ποιός που πού πώς πότε σε στα στη "
    "στην στις στο στον στους τα τη την της τι τις το τον του τους των ως",
    "zh": "的 了 是 在 和 与 及 或 也 都 吗 呢 吧 啊 这 那 哪 什 么 谁",
}

STOP_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split()) for language, words in _LISTS.items()
}

_ASCII = bytes(range(128))
_NO_ASCII_LETTERS = bytes(code for code in range(256) if not bytes([code]).isalpha())
_WORDS_OF_LETTERS = re.compile(r"[^\W\d_]+")
_ASCII_LETTERS = {code: chr(code).lower() if chr(code).isalpha() else " " for code in range(128)}
# Initials are not words.
_ASCII_INITIAL = re.compile(r"[A-Z](?<![A-Za-z].)(?![A-Za-z])", re.DOTALL)


def detect_language(text: str) -> str | None:
    """Return a text's language as a two-letter code, by script and stop words, or None.

    Looks at the first 4,000 characters. A text that holds fewer than two stop words of one
    language, or fits two languages equally well, stays undecided.
    """
    sample = text[:SAMPLE_CHARACTERS]
    if sample.isascii():
        words = _ASCII_INITIAL.sub(" ", sample).translate(_ASCII_LETTERS).split()
        return _vote(words, "latin")
    counts = dict.fromkeys(_SCRIPTS, 0)
    # Most characters of many texts are of ASCII, and are counted at once.
    raw = sample.encode("utf-8", "surrogatepass")
    counts["latin"] = len(raw.translate(None, _NO_ASCII_LETTERS))
    others = raw.translate(None, _ASCII).decode("utf-8", "surrogatepass")
    for character, n in Counter(others).items():
        if (name := _script_of(character)) is not None:
            counts[name] += n
    if counts["ja"] and counts["ja"] * 10 > counts["zh"]:
        counts["ja"] += counts["zh"]
    for name in ("ja", "zh", "ko"):
        counts[name] *= LETTERS_IN_AN_IDEOGRAPH
    script = max(counts, key=counts.__getitem__)
    if not counts[script]:
        return None
    if script not in _BY_STOP_WORDS:
        return script
    found = _WORDS_OF_LETTERS.findall(sample)
    return _vote([word.lower() for word in found if len(word) > 1 or word.islower()], script)


@lru_cache(maxsize=4096)
def _script_of(character: str) -> str | None:
    match = _SCRIPT.match(character)
    return None if match is None else match.lastgroup


def _vote(words: Sequence[str], script: str) -> str | None:
    """Return the language with most stop words among lower-case words without initials."""
    languages_of = _languages_by_word(script)
    votes = dict.fromkeys(_BY_STOP_WORDS[script], 0)
    for word, n in Counter(filter(languages_of.__contains__, words)).items():
        # A repeated name (`Los Angeles`) must not outvote a language.
        n_votes = min(n, MAX_VOTES_OF_A_WORD)
        for language in languages_of[word]:
            votes[language] += n_votes
    first, second = sorted(votes, key=votes.__getitem__, reverse=True)[:2]
    return None if votes[first] < 2 or votes[first] == votes[second] else first


@lru_cache(maxsize=len(_BY_STOP_WORDS))
def _languages_by_word(script: str) -> Mapping[str, list[str]]:
    """Return the languages of a script in which each word is a stop word."""
    found: dict[str, list[str]] = {}
    for language in _BY_STOP_WORDS[script]:
        for word in STOP_WORDS[language]:
            found.setdefault(word, []).append(language)
    return found
