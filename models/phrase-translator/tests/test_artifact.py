"""The files that ship: that they are whole, and that they translate."""

import json

import openvino_genai
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trunkline_phrase_translator import artifact
from trunkline_phrase_translator.conversations import CHAT_TEMPLATE, DIRECTIONS, messages, render
from trunkline_phrase_translator.held_out import held_out
from trunkline_phrase_translator.placeholders import PLACEHOLDERS
from trunkline_phrase_translator.turn import Direction, Turn

SENTENCES = 4


@pytest.fixture(scope="module")
def tokenizer(shipped):
    return openvino_genai.Tokenizer(str(shipped))


@pytest.fixture(scope="module")
def translate(shipped):
    pipeline = openvino_genai.ContinuousBatchingPipeline(
        str(shipped), openvino_genai.SchedulerConfig(), "CPU", {"INFERENCE_NUM_THREADS": 1}
    )
    options = pipeline.get_config()
    options.max_new_tokens = 80
    options.apply_chat_template = False

    def translated(prompts):
        results = pipeline.generate(prompts, [options] * len(prompts))
        return [result.m_generation_ids[0] for result in results]

    return translated


def test_the_files_are_those_that_their_digests_describe(shipped):
    names = set(artifact.verify(shipped))
    assert names >= {*artifact.VERSION_FILES, artifact.CARD, artifact.EVALUATION}
    assert sum((shipped / name).stat().st_size for name in names) <= artifact.LIMIT_BYTES


def test_the_checkpoint_is_the_same_model_for_other_engines(shipped):
    place = artifact.checkpoint()
    assert set(artifact.verify(place)) == set(artifact.CHECKPOINT_FILES)
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (place / name).read_bytes() == (shipped / name).read_bytes()
    config = json.loads((place / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["head_dim"] == 64
    with (place / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"BF16"}


def test_the_signature_says_what_it_translates(shipped):
    signature = json.loads((shipped / artifact.SIGNATURE).read_text())
    assert signature == artifact.signature(("en", "es", "de", "fr"), 3, 512)
    assert len(signature["pairs"]) == 12


def test_the_chat_template_is_the_same_in_every_file(shipped, tokenizer):
    config = json.loads((shipped / "tokenizer_config.json").read_text())
    assert config["chat_template"] == CHAT_TEMPLATE
    assert (shipped / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    chat = messages(
        Direction("en", "es", "formal"), [Turn("Hello <|0|>", "Hola <|0|>")], "  Where?\n{{ x }} ¿é?"
    )
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT_TEMPLATE)
    rendered = template.render(messages=chat, add_generation_prompt=True)
    assert tokenizer.apply_chat_template(chat, True) == rendered


@pytest.mark.parametrize(
    "text",
    [
        "Where is the station?",
        "¿Dónde está la estación?",
        "J'ai besoin d'un médecin, s'il vous plaît.",
        "vierhunderteinundzwanzig",
        "日本 «a» 12,50 € 🙂",
        " two  spaces ",
        "See <|0|> and <|9|>, please.",
    ],
)
def test_any_text_comes_back_from_its_tokens(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids.data[0].tolist()) == text


def test_control_tokens_and_placeholders_are_single_tokens(tokenizer):
    for token in (
        "<|end|>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        *PLACEHOLDERS,
        "en",
        " de",
        " formal",
        " informal",
    ):
        ids = tokenizer.encode(token, add_special_tokens=False).input_ids.data[0]
        assert len(ids) == 1, token


def test_german_numbers_are_read_part_by_part(tokenizer):
    ids = tokenizer.encode(" vierhunderteinundzwanzig", add_special_tokens=False).input_ids.data[0].tolist()
    assert [tokenizer.decode([token]) for token in ids] == [" vier", "hundert", "ein", "und", "zwanzig"]


@pytest.mark.parametrize(
    "direction", DIRECTIONS, ids=lambda direction: f"{direction.source}-{direction.target}"
)
def test_it_translates_sentences_that_it_never_met(translate, direction):
    sentences = held_out(direction.source, direction.target, SENTENCES, seed=20, answers=False)
    answers = translate([render(sentence.direction, (), sentence.source) for sentence in sentences])
    # What share of all is right, the evaluation says; here it is that the files are that model.
    assert any(answer == sentence.target for answer, sentence in zip(answers, sentences, strict=True))


def test_what_was_said_before_decides_about_a_pronoun(translate):
    asked = Direction("en", "de", "formal")
    lost = Turn("Where is your umbrella?", "Wo ist Ihr Regenschirm?")
    other = Turn("Where is your bag?", "Wo ist Ihre Tasche?")
    text = "I have lost it at the station."
    assert translate([render(asked, (before,), text) for before in (lost, other)]) == [
        "Ich habe ihn am Bahnhof verloren.",
        "Ich habe sie am Bahnhof verloren.",
    ]


def test_formality_is_as_asked_for(translate):
    asked = [Direction("en", "es", formality) for formality in ("formal", "informal")]
    assert translate([render(one, (), "Do you live in Vienna?") for one in asked]) == [
        "¿Vive usted en Viena?",
        "¿Vives en Viena?",
    ]


def test_a_placeholder_comes_through(translate):
    (answer,) = translate([render(Direction("en", "fr", "formal"), (), "I am waiting for <|0|>.")])
    assert answer.count("<|0|>") == 1
