"""A text on its way: asked for, and what has come of it so far."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import grpc.aio

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_local.door import fault_of

TIMEOUT_S = 600.0
"""What the contract allows a text at most."""


class Growing:
    """What of a text's translation is there, put together from the events of `StreamTranslate`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sentences: list[pb.Sentence] = []
        """Those that are complete."""
        self.settled = ""
        """Their translations, with what stands in between."""
        self._separator = ""
        self._draft = ""
        self._revision = 0

    @property
    def draft(self) -> str:
        """What is there of the sentence that is under way, which may still change."""
        return self._separator + self._draft

    def take(self, response: pb.StreamTranslateResponse) -> None:
        """The next event. A higher revision begins its sentence anew."""
        self._separator += response.separator
        if response.HasField("sentence"):
            self.sentences.append(response.sentence)
            self.settled += self._separator + response.sentence.text
            self._separator = self._draft = ""
            self._revision = 0
        elif response.delta.revision >= self._revision:
            if response.delta.revision > self._revision:
                self._revision, self._draft = response.delta.revision, ""
            self._draft += response.delta.text


async def translated(
    stub: Any, text: str, options: pb.TranslationOptions, timeout_s: float = TIMEOUT_S
) -> AsyncGenerator[pb.StreamTranslateResponse, None]:
    """The events of a text's translation. Of a text without a word there are none.

    Raises:
        Fault: it was not translated to its end.
    """
    if not text.strip():
        return
    request = pb.StreamTranslateRequest(options=options, text=text)
    call = stub.StreamTranslate(request, timeout=timeout_s)
    try:
        async for response in call:
            yield response
    except grpc.aio.AioRpcError as error:
        raise fault_of(error) from error
    finally:
        call.cancel()
