"""Which device a model runs on: the first of several that works."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from trunkline_translate.genai_process import NotHere, Opens, Process

log = structlog.get_logger("trunkline.translate")

_FAILURES: Final = 2
"""So many broken pipelines, and the device is trusted less than those that broke fewer."""
TRUST_S: Final = 3600.0
"""After so long a broken pipeline says nothing about its device any more."""


class NoDevice(Exception):
    """None of the devices works. The text says why of each."""


class Devices:
    """Devices, in order of preference, and the one in use.

    Args:
        name: of the model, for logs.
        names: of the devices.
        opens: a pipeline on one of them.
        clock: in seconds.
    """

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        opens: Opens,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._names = tuple(names)
        self._opens = opens
        self._errors: dict[str, str] = {}
        self._now = clock
        self._broke_at: dict[str, list[float]] = {name: [] for name in self._names}
        self.using = ""
        """The device of the last pipeline that could be opened."""

    def open(self) -> Process:
        """The process of a pipeline on the first device that works. It blocks.

        Raises:
            NoDevice: none does. The next call tries those that once worked.
        """
        errors = dict(self._errors)
        for name in sorted(self._names, key=self._failures):
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
        self._broke_at[self.using].append(self._now())
        if failures := self._failures(self.using):
            log.error(
                "a device fails again and again", model=self._name, device=self.using, failures=failures
            )

    def _failures(self, name: str) -> int:
        """How often a device failed lately; 0 while that may be chance."""
        since = self._now() - TRUST_S
        lately = self._broke_at[name] = [at for at in self._broke_at[name] if at > since]
        return len(lately) if len(lately) >= _FAILURES else 0
