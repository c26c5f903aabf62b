"""Where a conversation is: what it took, what waits, and what it remembers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from trunkline_translate.context import Context
from trunkline_translate.conversation_events import Answer, SentenceTranslated
from trunkline_translate.engine import Exchange
from trunkline_translate.inbox import Text
from trunkline_translate.incoming import Complete, Incoming, Splits
from trunkline_translate.language import Direction
from trunkline_translate.snapshot import KEPT, Snapshot, Waiting
from trunkline_translate.text_ids import TextIds
from trunkline_translate.translation import Options
from trunkline_translate.translator import NOBODY

STEP: Final = 500
"""Characters that are cut into sentences while nobody else is served."""


class ConversationState:
    """Where a conversation is. Each method changes it at once: text is pending, or it waits, or it is answered.

    Args:
        snapshot: where it was.
        sequence: of the last event, deltas included.
        sentences: finds sentences in text of a language (empty: any), each of so many characters at most.
    """

    def __init__(self, snapshot: Snapshot, sequence: int, sentences: Callable[[str, int], Splits]) -> None:
        self.config = snapshot.config
        """As it was changed last."""
        self.sequence = sequence
        """Of the last event."""
        self.waiting = deque(snapshot.waiting)
        """Sentences that are to be translated."""
        self.answered = deque(snapshot.answered, KEPT + 1)
        """Sequence numbers of the last answers."""
        self.next_sentence = snapshot.next_sentence
        self.language = snapshot.language
        """Of the last sentence; empty where none was known."""
        self._asked = dict(snapshot.asked) or {0: snapshot.config.options}
        self._asking = max(self._asked)
        self._session_id = snapshot.session_id
        self._incoming = Incoming(
            lambda language: sentences(language, snapshot.config.longest), snapshot.pending
        )
        self._rest = snapshot.rest
        self._context = Context(snapshot.remembered)
        self._ids = TextIds(snapshot.text_ids, snapshot.last_text_id)
        self._placed = not snapshot.text_ids
        """False where the first text that comes tells whether what was asked for before it is new."""
        self._asked_behind: Options | None = None
        self._flush_behind = False

    @property
    def text_waits(self) -> bool:
        """True when text waits that is no sentence yet."""
        return self._incoming.waits

    def take(self, text: Text, now: datetime) -> None:
        """Takes text, which `cut` makes sentences of. Nothing of one that was taken before."""
        options, self._asked_behind = self._asked_behind, None
        flush, self._flush_behind = self._flush_behind, False
        self._placed = True
        if not self._ids.take(text.text_id):
            # What was asked for before a text that was taken was done.
            return
        if flush:
            self.flush(now)
        if options is not None:
            self.change(options, now)
        self._rest = text

    def cut(self, now: datetime) -> bool:
        """Looks for sentences in the next few characters of the text that was taken. False when none are left."""
        if (text := self._rest) is None:
            return False
        language = self.config.options.source if text.language is None else text.language
        part, rest = text.text[:STEP], text.text[STEP:]
        complete = self._incoming.add(part, text.text_id, language, joined=text.joined, more=text.more)
        self._wait(complete, now)
        self._rest = replace(text, text=rest, joined=False, more=True) if rest else None
        if text.ends and not rest:
            self.flush(now)
        self._forget()
        return bool(rest)

    def flush(self, now: datetime) -> None:
        """What waits is a sentence."""
        self._wait(self._incoming.flush(), now)

    def flush_asked(self, now: datetime) -> None:
        """The client wants what waits to be a sentence. See `change`."""
        if self._ids.behind:
            self._flush_behind = True
        else:
            self.flush(now)

    def change(self, options: Options, now: datetime) -> None:
        """How to translate what comes.

        Where the client may be sending again what came before the last text, the next text tells whether this is new.
        """
        if not self._placed or self._ids.behind:
            self._asked_behind = options
        elif options != self.config.options:
            self.flush(now)
            self.config = replace(self.config, options=options)
            self._asking += 1
            self._asked[self._asking] = options
            self._forget_options()

    def options(self, waiting: Waiting) -> Options:
        """How a sentence that waits is to be translated."""
        return self._asked[waiting.asked]

    def context(self, direction: Direction, waiting: Waiting) -> tuple[Exchange, ...]:
        """Of a sentence that waits, the oldest first."""
        return self._context.of(direction, waiting.complete)

    def answer(self, answer: Answer, direction: Direction) -> None:
        """The first sentence that waits was answered."""
        waiting = self.waiting.popleft()
        self.language = direction.source or self.language
        if isinstance(answer, SentenceTranslated) and answer.translated.made_by != NOBODY:
            exchange = Exchange(waiting.text, answer.translated.text)
            self._context.add(direction, exchange, waiting.complete)
        self._forget()
        self._forget_options()

    def snapshot(self) -> Snapshot:
        """Where it is."""
        return Snapshot(
            session_id=self._session_id,
            config=self.config,
            sequence=self.sequence,
            next_sentence=self.next_sentence,
            pending=self._incoming.pending,
            rest=self._rest,
            waiting=tuple(self.waiting),
            asked=tuple(self._asked.items()),
            remembered=self._context.remembered,
            language=self.language,
            text_ids=self._ids.taken,
            last_text_id=self._ids.last,
            answered=tuple(self.answered),
        )

    def _forget(self) -> None:
        # After every text too: of white space alone no sentence ever comes that could be answered.
        unanswered = {text_id for text_id, _ in self._incoming.pending.pieces}
        if self._rest is not None:
            unanswered.add(self._rest.text_id)
        unanswered.update(*(each.text_ids for each in self.waiting))
        self._ids.forget(unanswered - {""})

    def _forget_options(self) -> None:
        wanted = {self._asking, *(each.asked for each in self.waiting)}
        self._asked = {number: options for number, options in self._asked.items() if number in wanted}

    def _wait(self, complete: Iterable[Complete], now: datetime) -> None:
        for each in complete:
            waiting = Waiting(self.next_sentence, each.text, each.language, each.text_ids, self._asking, now)
            self.waiting.append(waiting)
            self.next_sentence += 1
