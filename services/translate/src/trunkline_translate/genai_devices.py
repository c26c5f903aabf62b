"""Which device a model runs on: the first of several that works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from trunkline_translate.genai_process import NotHere, Opens, Process

log = structlog.get_logger("trunkline.translate")

_FAILURES: Final = 2
"""So many broken pipelines, and the device is no longer trusted while another is left."""


class NoDevice(Exception):
    """None of the devices works. The text says why of each."""


class Devices:
    """Devices, in order of preference, and the one in use.

    Args:
        name: of the model, for logs.
        names: of the devices.
        opens: a pipeline on one of them.
    """

    def __init__(self, name: str, names: Sequence[str], opens: Opens) -> None:
        self._name = name
        self._names = tuple(names)
        self._opens = opens
        self._errors: dict[str, str] = {}
        self._failures = dict.fromkeys(self._names, 0)
        self.using = ""
        """The device of the last pipeline that could be opened."""

    def open(self) -> Process:
        """The process of a pipeline on the first device that works. It blocks.

        Raises:
            NoDevice: none does. The next call tries those that once worked.
        """
        errors = dict(self._errors)
        for name in self._names:
            if name in errors:
                continue
            try:
                process = self._opens(name)
            except NotHere as error:
                errors[name] = self._errors[name] = str(error)
            except Exception as error:
                log.error("a device cannot be used", model=self._name, device=name, exc_info=error)
                errors[name] = "it could not be opened"
                if not self.using:
                    # A driver or a file that it never could use: nothing of that will change.
                    self._errors[name] = errors[name]
            else:
                self.using = name
                return process
        why = ", ".join(f"{name}: {error}" for name, error in errors.items())
        raise NoDevice(f"no device works ({why})")

    def broke(self) -> None:
        """The pipeline on the device in use is broken."""
        self._failures[self.using] += 1
        others = [name for name in self._names if name not in self._errors and name != self.using]
        if self._failures[self.using] >= _FAILURES and others:
            self._errors[self.using] = "it failed again and again"
            log.error("device taken out", model=self._name, device=self.using)
