"""What chat models say in front of a translation, or instead of it, in the languages they say it in."""

from __future__ import annotations

import re

_LANGUAGES = (
    r"(?:english|spanish|german|french|chinese|japanese|inglés|español|alemán|francés|chino|japonés|englisch(?:e|en)?"
    r"|spanisch(?:e|en)?|deutsch(?:e|en)?|französisch(?:e|en)?|anglais|espagnol|allemand|français|chinois|japonais"
    r"|英文|英语|中文|日文|日语|法语|德语|西班牙语|英語|日本語|中国語|フランス語|ドイツ語|スペイン語)"
)
_SURE = (
    r"(?:(?:sure(?: thing)?|certainly|of course|okay|ok|absolutely|claro(?: que sí)?|por supuesto|desde luego|natürlich"
    r"|gerne?|selbstverständlich|klar|bien sûr|certainement|d['’]accord|avec plaisir|好的|当然|當然|もちろん(?:です)?|はい)"
    r"\s?[,.!，。！、:：]*\s*)?"
)
_OPENINGS = (
    # A label: `Translation:`, `Traducción al español:`, `翻译：`
    rf"(?:the\s+)?(?:{_LANGUAGES}\s+)?(?:translation|translated text)(?:\s+(?:in|into|to)\s+{_LANGUAGES})?\s?:",
    rf"traducción(?:\s+(?:al?|en)\s+{_LANGUAGES})?\s?:",
    rf"(?:{_LANGUAGES}\s+)?übersetzung(?:\s+(?:ins|auf|in)\s+{_LANGUAGES})?\s?:",
    rf"traduction(?:\s+(?:en|vers)\s+(?:l[ea]\s+|l['’])?{_LANGUAGES})?\s?:",
    rf"{_LANGUAGES}\s?[:：]",
    rf"(?:in|auf|en|ins)\s+{_LANGUAGES}\s?:",
    rf"(?:{_LANGUAGES})?(?:翻译|翻譯|译文|譯文|翻訳|訳文|訳)(?:结果|結果|如下)?(?:です|は以下の通りです|为|為|是)?\s?[:：]",
    # A sentence: `Here is the translation`, `Voici la traduction`
    r"here(?:['’]s|\s+is|\s+are|\s+you go)\b[^\n:]{0,20}\btranslat",
    r"the\s+(?:translation|translated text)\s+(?:of\b[^\n]{0,80}?|is|would be|reads)\s?[:\"'“«]",
    rf"(?:the\s+)?(?:sentence|text|phrase)\b[^\n:]{{0,60}}\b(?:translates? (?:in)?to|in\s+{_LANGUAGES}\s+is)\b",
    r"aquí\s+(?:está|tienes?|va|te dejo)\b[^\n:]{0,20}\btraducción",
    r"la\s+traducción\b[^\n:]{0,60}\b(?:es|sería)\s?[:\"'“«]",
    r"hier\s+(?:ist|kommt|sind)\b[^\n:]{0,20}\bübersetzung",
    r"die\s+übersetzung\b[^\n:]{0,60}\b(?:lautet|ist|wäre)\s?[:\"'„“«]",
    r"voici\b[^\n:]{0,20}\btraduction",
    r"la\s+traduction\b[^\n:]{0,60}\b(?:est|serait)\s?[:\"'“«]",
    r"(?:以下是|这是|這是|下面是)[^\n：:。]{0,12}(?:翻译|翻譯|译文|譯文)",
    r"以下[はが][^\n：:。]{0,12}(?:翻訳|訳)",
    # Instead of one
    r"(?:i['’]m\s+sorry,?\s+but\s+)?(?:as an ai|i\s+(?:can['’]t|cannot|am unable to|am not able to)\s+(?:translate|assist|help with that))",
    r"lo\s+siento,?\s+(?:pero\s+)?no\s+puedo\s+(?:traducir|ayudar)",
    r"(?:es\s+tut\s+mir\s+leid,?\s+(?:aber\s+)?)?ich\s+kann\s+(?:das|dies|diesen\s+\w+)\s+(?:leider\s+)?nicht\s+übersetzen",
    r"(?:je\s+suis\s+)?désolée?,?\s+(?:mais\s+)?je\s+ne\s+(?:peux|puis)\s+pas\s+(?:traduire|aider)",
)
_PREAMBLE = re.compile(rf"[\s\"'“«*_#]*{_SURE}(?:{'|'.join(_OPENINGS)})", re.IGNORECASE)
_NOTE = re.compile(
    r"\n\s*[(*_\[]*(?:note|explanation|nota|explicación|anmerkung|hinweis|erklärung|remarque|explication|注|说明|注意|備考)"
    r"[\s*_]*[:：]",
    re.IGNORECASE,
)
_SPEAKS = re.compile(
    r"translat|traduc|tradui|übersetz|[译譯訳]|\b(?:help|assist|ayud|hilf|helf|geholfen|aide)|[帮幫助]|手伝",
    re.IGNORECASE,
)


def begins_with_preamble(text: str) -> bool:
    """Whether a text speaks of a translation in front of it, refuses one, or explains one behind it."""
    return bool(_PREAMBLE.match(text) or _NOTE.search(text))


def speaks_of_it(text: str) -> bool:
    """Whether a text is about translating or helping itself, so that its translation may look like a preamble."""
    return bool(_SPEAKS.search(text))
