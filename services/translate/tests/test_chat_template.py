"""Chat templates, as `transformers` renders them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline_translate.chat_template import ChatTemplate, TemplateFailed, special_tokens

MESSAGES = [
    {"role": "system", "content": "en es"},
    {"role": "user", "content": 'It\'s "late".'},
]
CHATML = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] | trim }}{% endfor %}"
)


def write(directory: Path, config: dict[str, Any], template: str | None = None) -> Path:
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    if template is not None:
        (directory / "chat_template.jinja").write_text(template)
    return directory


def test_a_template_of_the_configuration_renders_up_to_where_the_answer_begins(tmp_path: Path) -> None:
    template = ChatTemplate.read(write(tmp_path, {"chat_template": CHATML}))
    assert template.render(MESSAGES) == (
        "<|im_start|>system\nen es<|im_end|>\n"
        '<|im_start|>user\nIt\'s "late".<|im_end|>\n'
        "<|im_start|>assistant\n"
    )


def test_a_template_in_a_file_of_its_own_goes_first(tmp_path: Path) -> None:
    directory = write(tmp_path, {"chat_template": "no"}, "yes")
    assert ChatTemplate.read(directory).render(MESSAGES) == "yes"


def test_of_several_templates_the_default_is_taken(tmp_path: Path) -> None:
    several = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    assert ChatTemplate.read(write(tmp_path, {"chat_template": several})).render(MESSAGES) == "yes"


def test_tokens_are_known_by_name_bare_or_in_an_object(tmp_path: Path) -> None:
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": None}
    directory = write(tmp_path, config, "{{ bos_token }}|{{ eos_token }}|{{ pad_token is defined }}")
    assert ChatTemplate.read(directory).render(MESSAGES) == "<s>|</s>|False"


def test_blocks_leave_no_lines_and_no_indentation() -> None:
    source = "{% for m in messages %}\n  {% if loop.first %}\n{{ m.role }}\n  {% endif %}\n{% endfor %}\n"
    assert ChatTemplate(source, {}).render(MESSAGES) == "system\n"


def test_loops_can_be_left_generation_marks_pass_and_json_keeps_its_characters() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'user' %}{% generation %}{{ m | tojson }}{% endgeneration %}"
        "{% break %}{% endif %}{% endfor %}"
    )
    said = ChatTemplate(source, {}).render([{"role": "user", "content": "<ü>"}, *MESSAGES])
    assert said == '{"role": "user", "content": "<ü>"}'


def test_the_date_can_be_asked_for() -> None:
    assert ChatTemplate("{{ strftime_now('%Y') }}", {}).render(MESSAGES).isdigit()


def test_a_template_that_refuses_a_system_message_gets_it_with_the_first_of_the_user() -> None:
    template = ChatTemplate(NO_SYSTEM, {"bos_token": "<s>"})
    for _ in range(2):
        assert template.render(MESSAGES) == '<s><user>en es\n\nIt\'s "late".'


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{% for %}", "malformed"),
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("{{ messages[9].role.x }}", "fails"),
        ("{{ messages.append(1) }}", "fails"),
        ("{{ ''.__class__.__mro__ }}", "fails"),
    ],
)
def test_a_template_that_cannot_be_rendered_says_why(source: str, why: str) -> None:
    with pytest.raises(TemplateFailed, match=why):
        ChatTemplate(source, {}).render(MESSAGES)


def test_what_is_no_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateFailed, match="no chat template"):
        ChatTemplate.read(write(tmp_path, {}))
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(TemplateFailed, match="no JSON"):
        ChatTemplate.read(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(TemplateFailed, match="no JSON object"):
        ChatTemplate.read(tmp_path)


def test_control_tokens_are_the_special_ones_and_those_that_look_like_it(tmp_path: Path) -> None:
    config = {
        "eos_token": "</s>",
        "added_tokens_decoder": {
            "1": {"content": "<|0|>", "special": False},
            "2": {"content": "<h1>", "special": False},
        },
    }
    write(tmp_path, config)
    (tmp_path / "tokenizer.json").write_text(
        json.dumps({"added_tokens": [{"content": "[X]", "special": True}]})
    )
    assert special_tokens(tmp_path) == {"</s>", "<|0|>", "[X]"}


@pytest.mark.parametrize("templates", [["text"], [{"name": "default"}], {"default": "text"}])
def test_templates_that_are_in_no_shape_that_there_is_are_refused(tmp_path: Path, templates: object) -> None:
    with pytest.raises(TemplateFailed, match="no chat template"):
        ChatTemplate.read(write(tmp_path, {"chat_template": templates}))


def test_a_template_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {})
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(TemplateFailed, match="no UTF-8"):
        ChatTemplate.read(tmp_path)


@pytest.mark.parametrize("tokens", [["<s>"], {"0": "<s>"}, "<s>", 7])
def test_tokens_that_are_in_no_shape_that_there_is_are_refused(tmp_path: Path, tokens: object) -> None:
    with pytest.raises(TemplateFailed, match="added tokens"):
        special_tokens(write(tmp_path, {"added_tokens_decoder": tokens}))
    write(tmp_path, {})
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": tokens}))
    with pytest.raises(TemplateFailed, match="added tokens"):
        special_tokens(tmp_path)
