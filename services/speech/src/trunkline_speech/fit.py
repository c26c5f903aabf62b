"""Whether a recogniser has the language and the task that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline_hop.errors import BadRequest, FieldViolation
from trunkline_speech.recogniser import Recogniser, Task


def fits(recogniser: Recogniser, language: str, task: Task) -> bool:
    """True when it has both; any language when `language` is empty."""
    return _hears(recogniser, language) and task in recogniser.tasks


def unfit(language: str, task: Task, there: Sequence[Recogniser]) -> BadRequest:
    """What to say where nobody of `there` has both: LANGUAGE_UNSUPPORTED or TASK_UNSUPPORTED."""
    if not any(_hears(each, language) for each in there):
        languages = sorted({language for each in there for language in each.languages})
        return _fault(
            "options.language_code",
            f"{language} is not among the languages here: {', '.join(languages) or 'none'}",
            "LANGUAGE_UNSUPPORTED",
            {"language": language, "languages": ",".join(languages)},
        )
    tasks = sorted({task.value for each in there if _hears(each, language) for task in each.tasks})
    return _fault(
        "options.task",
        f"nobody here can {task.value} {language or 'speech'}; there is {', '.join(tasks)}",
        "TASK_UNSUPPORTED",
        {"task": task.value, "tasks": ",".join(tasks)},
    )


def _hears(recogniser: Recogniser, language: str) -> bool:
    return not language or language in recogniser.languages


def _fault(field: str, wanted: str, reason: str, metadata: dict[str, str]) -> BadRequest:
    return BadRequest(f"{field}: {wanted}", [FieldViolation(field, wanted)], reason=reason, metadata=metadata)
