"""Diarization error rate of each embedding, online and offline, beside the trivial answer.

    python -m bench.diarization --data ../shared/data/diarization

Speech is cut into words of a quarter of a second, as a recogniser would give them, and told to the same code that
serves: the reference's speech (oracle), or what the service's own voice detector finds (own). Scored as in the NIST
Rich Transcription evaluations: 0.25 s around every boundary of the reference are left out, speech of several people
at once counts once for each of them, and speakers are matched in the way that serves the hypothesis best.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from trunkline_speech import vad
from trunkline_speech.classical_embedding import ClassicalEmbedding
from trunkline_speech.config import Parameters
from trunkline_speech.embedding import Embedding
from trunkline_speech.recording_speakers import tag_recording
from trunkline_speech.speakers import Diarizer
from trunkline_speech.transcript import RATE_HZ, Word

FRAMES_A_SECOND = 100
COLLAR = FRAMES_A_SECOND // 4
MOST_SPEAKERS = 10
TUNED_ON = "trn"
WORD_S, PAUSE_S, SEGMENT_S = 0.25, 0.5, 6.0

Said = list[tuple[float, float, str]]
"""Start and end in seconds, and who."""


@dataclass(frozen=True)
class Recording:
    name: str
    samples: NDArray[np.float32]
    reference: Said
    scored: tuple[float, float]


@dataclass(frozen=True)
class Errors:
    """Seconds of speech, per speaker."""

    missed: float
    false: float
    confused: float
    speech: float

    @property
    def rate(self) -> float:
        return (self.missed + self.false + self.confused) / self.speech if self.speech else float("nan")


Tag = Callable[[NDArray[np.float32], list[Word]], Awaitable[Iterable[Word]]]


def activity(said: Said, frames: int) -> NDArray[np.bool_]:
    """[speakers, frames]."""
    names = list(dict.fromkeys(who for _, _, who in said))
    active = np.zeros((len(names), frames), bool)
    for start, end, who in said:
        active[names.index(who), round(start * FRAMES_A_SECOND) : round(end * FRAMES_A_SECOND)] = True
    return active


def score(recording: Recording, hypothesis: Said) -> Errors:
    frames = len(recording.samples) * FRAMES_A_SECOND // RATE_HZ
    counted = np.zeros(frames, bool)
    counted[round(recording.scored[0] * FRAMES_A_SECOND) : round(recording.scored[1] * FRAMES_A_SECOND)] = (
        True
    )
    for start, end, _ in recording.reference:
        for edge in (start, end):
            at = round(edge * FRAMES_A_SECOND)
            counted[max(0, at - COLLAR) : at + COLLAR] = False
    truth, told = (activity(said, frames)[:, counted] for said in (recording.reference, hypothesis))
    shared = truth.astype(int) @ told.T.astype(int)
    right = shared[linear_sum_assignment(shared, maximize=True)].sum()
    spoken, heard = truth.sum(axis=0), told.sum(axis=0)
    missed, false = np.maximum(spoken - heard, 0).sum(), np.maximum(heard - spoken, 0).sum()
    confused = np.minimum(spoken, heard).sum() - right
    return Errors(*(float(n) / FRAMES_A_SECOND for n in (missed, false, confused, spoken.sum())))


def load(data: Path) -> list[Recording]:
    rttm: dict[str, Said] = {}
    for line in (data / "ami.rttm").read_text().splitlines():
        _, name, _, start, length, _, _, who, *_ = line.split()
        rttm.setdefault(name, []).append((float(start), float(start) + float(length), who))
    found = []
    for line in (data / "ami.uem").read_text().splitlines():
        name, _, start, end = line.split()
        samples = audio(data / f"ami_{name}.flac")
        found.append(Recording(f"ami_{name}", samples, rttm[name], (float(start), float(end))))
    told = json.loads((data / "three_speakers.json").read_text())["tests"]["diarization_tests"][0]["segments"]
    three = [(turn["start_sec"], turn["end_sec"], str(turn["speaker_tag"])) for turn in told]
    samples = audio(data / "three_speakers.wav")
    return [*found, Recording("three_speakers", samples, three, (0.0, len(samples) / RATE_HZ))]


def audio(path: Path) -> NDArray[np.float32]:
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE_HZ:
        raise ValueError(f"{path} has {rate} Hz")
    return samples


def words(speech: NDArray[np.bool_], frames_a_second: float) -> list[Word]:
    """Runs of speech, cut into words."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], speech.astype(np.int8), [0]])))
    found = []
    for start, end in (edges / frames_a_second).reshape(-1, 2):
        pieces = max(1, round((end - start) / WORD_S))
        cuts = np.round(np.linspace(start, end, pieces + 1) * RATE_HZ).astype(int).tolist()
        found += [Word("word", *cut) for cut in pairwise(cuts)]
    return found


def oracle(recording: Recording) -> list[Word]:
    frames = len(recording.samples) * FRAMES_A_SECOND // RATE_HZ
    return words(activity(recording.reference, frames).any(axis=0), FRAMES_A_SECOND)


def own(recording: Recording) -> list[Word]:
    return words(vad.probabilities(recording.samples) > Parameters().voice_threshold, RATE_HZ / vad.FRAME)


def segments(told: list[Word]) -> list[list[Word]]:
    """As a session would end them: by silence, or because they get too long."""
    found: list[list[Word]] = []
    for word in told:
        if (
            found
            and word.start - found[-1][-1].end < PAUSE_S * RATE_HZ
            and word.end - found[-1][0].start <= SEGMENT_S * RATE_HZ
        ):
            found[-1].append(word)
        else:
            found.append([word])
    return found


def online(embedding: Embedding) -> Tag:
    async def tag(samples: NDArray[np.float32], told: list[Word]) -> Iterable[Word]:
        diarizer = Diarizer(embedding, MOST_SPEAKERS)
        tagged: list[Word] = []
        for segment in segments(told):
            start = segment[0].start
            tagged += await diarizer.tag(samples[start : segment[-1].end], start, segment)
        return tagged

    return tag


def offline(embedding: Embedding) -> Tag:
    async def tag(samples: NDArray[np.float32], told: list[Word]) -> Iterable[Word]:
        return await tag_recording(embedding, samples, told, MOST_SPEAKERS)

    return tag


async def one_speaker(samples: NDArray[np.float32], told: list[Word]) -> Iterable[Word]:
    return told


async def run(data: Path, embeddings: dict[str, Embedding], detectors: dict) -> None:
    recordings = load(data)
    systems: dict[str, Tag] = {"one speaker": one_speaker}
    for name, embedding in embeddings.items():
        systems |= {f"{name}, online": online(embedding), f"{name}, offline": offline(embedding)}
    print(
        "| speech | speakers | " + " | ".join(r.name for r in recordings) + " | tuned on | held out | s/s |"
    )
    print("|---" * (len(recordings) + 5) + "|")
    for found_by, detect in detectors.items():
        told = [detect(recording) for recording in recordings]
        for name, tag in systems.items():
            errors, took = [], time.perf_counter()
            for recording, each in zip(recordings, told, strict=True):
                tagged = await tag(recording.samples, each)
                errors.append(
                    score(recording, [(w.start / RATE_HZ, w.end / RATE_HZ, str(w.speaker)) for w in tagged])
                )
            took = time.perf_counter() - took
            length = sum(len(recording.samples) for recording in recordings) / RATE_HZ
            cells = [f"{100 * each.rate:.1f}" if each.speech else "-" for each in errors]
            for tuned in (True, False):
                part = [e for e, r in zip(errors, recordings, strict=True) if (TUNED_ON in r.name) == tuned]
                cells.append(
                    f"{100 * sum(e.rate * e.speech for e in part if e.speech) / sum(e.speech for e in part):.1f}"
                )
            print(f"| {found_by} | {name} | {' | '.join(cells)} | {took / length:.4f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/diarization"))
    given = parser.parse_args(sys.argv[1:] if __name__ == "__main__" else [])
    if not given.data.is_dir():
        print(f"skipped: {given.data} is not here")
        return
    asyncio.run(run(given.data, {"classical": ClassicalEmbedding()}, {"oracle": oracle, "own": own}))


if __name__ == "__main__":
    main()
