"""Live sessions paced in real time: when the first partial and the final come, beside the bare pipeline.

The service (and the gateway, in the rows that name it) has one core, the clients the other. Utterances of the
committed samples follow each other with pauses of 1.2 to 2.5 s; the language is detected. First partial: the first
event with text of a segment, counted from the start of the utterance's first word. Final: its last final, from the
end of its last word. An utterance that nothing was heard of counts as infinitely late. `core` is the share of the
time in which the service ran, `no core for` that in which its threads were ready and something else ran.

    python -m bench speech_live [--seconds 120] [--sessions 1 4] [--no-gateway]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from random import Random

import uvloop

from bench.model_service import cores, parser, running, stores, waited_s
from bench.speech_bare import bare
from bench.speech_material import Utterance, samples, track
from bench.speech_sessions import FINAL_S, FIRST_S, Latencies, Session, config, live_together, quantile, stub

HEAD = "| | sessions | utterances | unheard | first partial p50 / p95 | final p50 / p95 | core | no core for | sent late by |"


async def measure(given: argparse.Namespace, utterances: Sequence[Utterance]) -> bool:
    """Prints a row for every number of sessions. Whether all of them are as fast as required."""
    kept = True
    print(HEAD)
    print("|---" * (HEAD.count("|") - 1) + "|")
    async with (
        stores(given.artifact) as at,
        running("speech", at, cores()[0], gateway=not given.no_gateway) as served,
    ):
        doors = {"direct": served.target} | ({"gateway": served.gateway} if served.gateway else {})
        for name, door in doors.items():
            for count in given.sessions:
                rng = Random(f"{count} {given.seed}")
                tracks = [track(utterances, given.seconds, rng) for _ in range(count)]
                async with stub(door) as service:
                    await live_together(service, [track(utterances, 5, rng)], config())
                    before, waited = served.process.cpu_times(), waited_s(served.process)
                    sessions = await live_together(service, tracks, config())
                    after, waited = served.process.cpu_times(), waited_s(served.process) - waited
                busy_s = sum(after[:2]) - sum(before[:2])
                kept &= _row(name, sessions, busy_s, waited)
    return kept


def _row(name: str, sessions: Sequence[Session], busy_s: float, waited: float) -> bool:
    latencies = Latencies.of(sessions)
    first50, first95, final50, final95 = latencies.quantiles()
    length_s = max(session.track.seconds for session in sessions)
    lateness = quantile([session.late_s for session in sessions], 1.0)
    print(
        f"| {name} | {len(sessions)} | {len(latencies.first_s)} | {latencies.unheard} "
        f"| {first50:.2f} / {first95:.2f} s | {final50:.2f} / {final95:.2f} s "
        f"| {busy_s / length_s:.0%} | {waited / length_s:.0%} | {lateness * 1e3:.0f} ms |",
        flush=True,
    )
    for session in sessions:
        if session.fault is not None:
            print(f"a session ended early: {session.fault}")
        degraded = {
            degradation for each in session.arrived for degradation in each.event.provenance.degradations
        }
        if degraded:
            print(f"degradations: {', '.join(sorted(degraded))}")
    return latencies.keeps() and not any(session.fault for session in sessions)


def main(arguments: Sequence[str] = ()) -> None:
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=120, help="of each session")
    made.add_argument("--sessions", type=int, nargs="+", default=[1, 4])
    made.add_argument("--no-gateway", action="store_true")
    made.add_argument("--seed", type=int, default=1)
    given = made.parse_args(arguments)
    utterances = samples()
    for word_times in (False, True):
        alone = bare(given.artifact, cores()[0], [each.samples for each in utterances], word_times)
        print(
            f"bare pipeline{' with word times' if word_times else ''}, one pass over an utterance: "
            f"p50 {alone.p50_ms:.1f} ms, p95 {alone.p95_ms:.1f} ms",
            flush=True,
        )
    kept = uvloop.run(measure(given, utterances))
    print(
        "required: first partial p50 {:.1f} s, p95 {:.1f} s; final p50 {:.1f} s, p95 {:.1f} s".format(
            *FIRST_S, *FINAL_S
        )
    )
    if not kept:
        sys.exit("missed")


if __name__ == "__main__":
    main(sys.argv[1:])
