"""Card transactions through the gateway: fraud is found, the feature store dies, answers go on and recover.

The simulator's weeks up to this Monday are the history that warms the feature store; the days after them are
streamed. Every transaction is scored on the rows that the events before it left, and only then becomes an
event itself. The picture's precision and recall compare with the simulator's truth at once; the features learn
it as in life, a week later.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from trunkline.features.v1 import features_pb2 as features
from trunkline.features.v1.features_pb2_grpc import FeatureServiceStub
from trunkline.ranking.v1 import ranking_pb2 as ranking
from trunkline.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from trunkline_fraud.simulator import FraudRates, Population, simulate
from trunkline_fraud.transactions import DAY_US, Transactions
from trunkline_fraud.views import CUSTOMER_VIEW, TERMINAL_VIEW
from trunkline_fraud.windows import CUSTOMER_FIELDS, TERMINAL_FIELDS, Activity
from trunkline_local.demo import ActFailed, Stage, traceparent
from trunkline_local.state import ProcessState
from trunkline_local.waterfall import waterfall

WEEKS = 12
STREAMED_DAYS = 4
CUSTOMERS = 350
FRAUD_TIMES = 4.0
"""More fraud than the model was trained on, so that a few minutes' worth of transactions show some."""
SEED = 11
CONCURRENCY = 16
"""Transactions in flight. Their events are written before the next ones are scored."""
KILL_AT = 0.4
"""Share of the stream after which the feature service is killed."""
RECOVERY_TIMEOUT_S = 12.0
SCORE_TIMEOUT_S = 2.0
WRITE_TIMEOUT_S = 2.0
LINES = 8
PRECISION_FLOOR = 0.5
RECALL_FLOOR = 0.4


@dataclass(slots=True)
class Tally:
    """Flagged (to review or declined) against the truth."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    scored: int = 0

    def add(self, flagged: bool, fraud: bool) -> None:
        """One more answer."""
        self.scored += 1
        self.right += flagged and fraud
        self.wrong += flagged and not fraud
        self.missed += fraud and not flagged

    @property
    def precision(self) -> float:
        """Share of the flagged that are fraud."""
        return self.right / max(self.right + self.wrong, 1)

    @property
    def recall(self) -> float:
        """Share of fraud that is flagged."""
        return self.right / max(self.right + self.missed, 1)


@dataclass(slots=True)
class Answer:
    """What the caller saw of one transaction."""

    code: str
    """Name of the status code."""
    flagged: bool = False
    degraded: bool = False
    version: str = ""
    took_s: float = 0.0


@dataclass(slots=True)
class Rows:
    """Feature rows to be written, the newest of each entity."""

    customers: set[int] = field(default_factory=set)
    terminals: set[int] = field(default_factory=set)


class FraudAct:
    """The act."""

    title = "fraud: a scored transaction through every hop"
    order = 10

    async def play(self, stage: Stage) -> None:
        """Warms, streams with a kill on the way, traces.

        Raises:
            ActFailed: fraud was not found, an answer was an error, or the outage did not show or did not end.
        """
        history, stream = transactions()
        async with grpc.aio.insecure_channel(stage.gateway) as channel:
            await _Play(stage, channel).run(history, stream)


def transactions() -> tuple[Transactions, Transactions]:
    """The history, and what comes after it. The weeks are whole, so that every day shows the same picture."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = 7 * WEEKS
    start = today - timedelta(days=today.weekday() + days)
    population = Population(
        customers=CUSTOMERS,
        terminals=CUSTOMERS,
        days=days,
        start=start,
        fraud=FraudRates().times(FRAUD_TIMES),
    )
    everything = simulate(population, SEED)
    streamed = everything.time_us >= int(start.timestamp() * 1e6) + (days - STREAMED_DAYS) * DAY_US
    return everything.where(~streamed), everything.where(streamed)


class _Play:
    def __init__(self, stage: Stage, channel: grpc.aio.Channel) -> None:
        self._stage = stage
        self._print = stage.console.print
        self._features = FeatureServiceStub(channel)
        self._ranking = RankingServiceStub(channel)
        self._activity = Activity()
        self._tally = Tally()
        self._codes: Counter[str] = Counter()
        self._versions: set[str] = set()
        self._unwritten = Rows()
        self._degraded = 0

    async def run(self, history: Transactions, stream: Transactions) -> None:
        began = time.monotonic()
        await self._warm(history)
        self._print(
            f"{len(history)} past transactions are now features of {len(self._activity.customers)} customers and "
            f"{len(self._activity.terminals)} terminals ({time.monotonic() - began:.1f} s)"
        )
        await self._stream(stream)
        self._expect()
        await self._trace(stream)

    async def _warm(self, history: Transactions) -> None:
        for place in range(len(history)):
            self._observe(history, place)
        await self._write()
        if self._unwritten.customers or self._unwritten.terminals:
            raise ActFailed("the history was not written to the feature store")

    async def _stream(self, stream: Transactions) -> None:
        kill_at = int(len(stream) * KILL_AT)
        report_every = -(-len(stream) // LINES)
        killed: ProcessState | None = None
        recovered = False
        began = time.monotonic()
        killed_at = 0.0
        reported = 0
        for first in range(0, len(stream), CONCURRENCY):
            places = range(first, min(first + CONCURRENCY, len(stream)))
            if killed is None and first >= kill_at:
                killed = self._stage.kill("features")
                killed_at = time.monotonic()
                self._print(f"[bold]kill -9 {killed.pid}[/] (features); scoring goes on")
            answers = await asyncio.gather(*(self._score(stream, place) for place in places))
            for place, answer in zip(places, answers, strict=True):
                self._count(answer, bool(stream.fraud[place]))
                self._observe(stream, place)
            await self._write()
            whole = all(answer.code == "OK" and not answer.degraded for answer in answers)
            if killed is not None and not recovered and self._degraded and whole:
                recovered = self._stage.restored(killed)
                if recovered:
                    self._print(
                        f"features is back as pid {self._stage.process('features').pid}; answers are whole "
                        f"again {time.monotonic() - killed_at:.1f} s after the kill, "
                        f"{self._degraded} were degraded"
                    )
            if places[-1] + 1 - reported >= report_every or places[-1] + 1 == len(stream):
                reported = places[-1] + 1
                self._line(began)
        if not recovered:
            await self._until_whole(stream, killed_at)

    async def _until_whole(self, stream: Transactions, killed_at: float) -> None:
        """The stream ended before the service was back: its last transaction is asked about until it is."""
        while time.monotonic() < killed_at + RECOVERY_TIMEOUT_S:
            answer = await self._score(stream, len(stream) - 1)
            self._codes[answer.code] += 1
            self._degraded += answer.degraded
            if answer.code == "OK" and not answer.degraded and self._degraded:
                self._print(
                    f"answers are whole again {time.monotonic() - killed_at:.1f} s after the kill, "
                    f"{self._degraded} were degraded"
                )
                await self._write()
                return
            await asyncio.sleep(0.05)
        raise ActFailed(f"answers were not whole {RECOVERY_TIMEOUT_S:g} s after features was killed")

    async def _score(self, stream: Transactions, place: int, header: str | None = None) -> Answer:
        at = Timestamp()
        at.FromMicroseconds(int(stream.time_us[place]))
        request = ranking.ScoreTransactionRequest(
            transaction=ranking.Transaction(
                customer_id=str(stream.customer[place]),
                terminal_id=str(stream.terminal[place]),
                amount=float(stream.amount[place]),
                time=at,
            )
        )
        call = self._ranking.ScoreTransaction(
            request, timeout=SCORE_TIMEOUT_S, metadata=(("traceparent", header),) if header else None
        )
        began = time.monotonic()
        try:
            reply = await call
        except grpc.aio.AioRpcError as error:
            return Answer(error.code().name)
        trailers = dict(await call.trailing_metadata() or ())
        return Answer(
            "OK",
            flagged=reply.decision in (ranking.DECISION_REVIEW, ranking.DECISION_DECLINE),
            degraded="x-trunkline-degraded" in trailers,
            version=str(trailers.get("x-trunkline-model-version", "")),
            took_s=time.monotonic() - began,
        )

    def _count(self, answer: Answer, fraud: bool) -> None:
        self._codes[answer.code] += 1
        if answer.code == "OK":
            self._tally.add(answer.flagged, fraud)
            self._degraded += answer.degraded
            self._versions.add(answer.version)

    def _line(self, began: float) -> None:
        tally = self._tally
        self._print(
            f"{tally.scored:5} scored {tally.scored / (time.monotonic() - began):4.0f}/s  "
            f"fraud {tally.right + tally.missed:3}  flagged {tally.right + tally.wrong:3}  "
            f"precision {tally.precision:4.0%}  recall {tally.recall:4.0%}"
        )

    def _observe(self, source: Transactions, place: int) -> None:
        """The transaction becomes an event; what it changed waits to be written."""
        now, terminal = int(source.time_us[place]), int(source.terminal[place])
        customer = int(source.customer[place])
        self._unwritten.terminals.update(self._activity.settle(now))
        self._activity.observe(now, customer, terminal, int(source.cents[place]), bool(source.fraud[place]))
        self._unwritten.customers.add(customer)
        self._unwritten.terminals.add(terminal)

    async def _write(self) -> None:
        """Writes the rows that changed. Those that cannot be written wait for the next time."""
        await asyncio.gather(
            self._write_view(
                CUSTOMER_VIEW, CUSTOMER_FIELDS, self._activity.customers, self._unwritten.customers
            ),
            self._write_view(
                TERMINAL_VIEW, TERMINAL_FIELDS, self._activity.terminals, self._unwritten.terminals
            ),
        )

    async def _write_view(
        self, view: str, names: Sequence[str], windows: dict[int, Any], unwritten: set[int]
    ) -> None:
        if not unwritten:
            return
        entities = sorted(unwritten)
        columns = zip(*(windows[entity].row() for entity in entities), strict=True)
        request = features.WriteFeaturesRequest(
            view=f"views/{view}",
            entity_ids=[str(entity) for entity in entities],
            event_times_us=[windows[entity].as_of_us for entity in entities],
            columns=[
                features.Column(
                    feature=name, values=features.Values(float64=features.Float64Values(values=column))
                )
                for name, column in zip(names, columns, strict=True)
            ],
        )
        try:
            await self._features.WriteFeatures(request, timeout=WRITE_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise ActFailed(f"a write was refused: {error.code().name} {error.details()}") from error
        else:
            unwritten.difference_update(entities)

    def _expect(self) -> None:
        """What must have held.

        Raises:
            ActFailed: it did not.
        """
        if set(self._codes) != {"OK"}:
            raise ActFailed(
                f"scoring must answer whatever dies behind it, but the codes were {dict(self._codes)}"
            )
        if not self._degraded:
            raise ActFailed("features was killed, but no answer was marked degraded")
        if self._versions != {version for version in self._versions if version.startswith("models/fraud/")}:
            raise ActFailed(f"answers must name the version that made them, not {self._versions}")
        if self._tally.precision < PRECISION_FLOOR or self._tally.recall < RECALL_FLOOR:
            raise ActFailed(
                f"precision {self._tally.precision:.0%} and recall {self._tally.recall:.0%} should be at least "
                f"{PRECISION_FLOOR:.0%} and {RECALL_FLOOR:.0%}"
            )
        self._print(
            f"every one of {sum(self._codes.values())} answers came from {', '.join(sorted(self._versions))}; "
            "none was an error"
        )

    async def _trace(self, stream: Transactions) -> None:
        """One more transaction, traced."""
        trace_id, header = traceparent()
        answer = await self._score(stream, len(stream) - 1, header)
        if answer.code != "OK":
            raise ActFailed(f"the traced transaction failed: {answer.code}")
        self._print()
        spans = await self._stage.trace(trace_id, ("gateway", "ranking", "features"))
        self._stage.console.print(waterfall(spans))
