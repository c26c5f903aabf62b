"""A grammar of everyday phrases, parallel in English, Spanish, German and French."""

from trunkline_phrases.languages import FORMALITIES, LANGUAGES, PARTS, Formality, Language, Part
from trunkline_phrases.sampler import Sentence, realise, sample
from trunkline_phrases.spoken import spoken, words
from trunkline_phrases.templates import Template, families, templates
from trunkline_phrases.vocabulary import sentence_count, vocabulary, words_of

__all__ = [
    "FORMALITIES",
    "LANGUAGES",
    "PARTS",
    "Formality",
    "Language",
    "Part",
    "Sentence",
    "Template",
    "families",
    "realise",
    "sample",
    "sentence_count",
    "spoken",
    "templates",
    "vocabulary",
    "words",
    "words_of",
]
