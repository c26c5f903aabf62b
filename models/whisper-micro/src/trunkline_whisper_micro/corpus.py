"""Clips on disk as spectrograms in bytes, made by as many processes as there are, read in batches."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import numpy.typing as npt

from trunkline_phrases import Language, Part
from trunkline_whisper_micro import clips, mel
from trunkline_whisper_micro.espeak import espeak
from trunkline_whisper_micro.labels import Label, Said
from trunkline_whisper_micro.tokens import Tokens

SHARD: Final = 1000
"""Clips of a file."""
VALIDATED: Final = 60
"""Clips of a language by which training is watched."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the clips are drawn by: of the same plan, a shard of a language is always the same."""

    seed: int
    tokens: Tokens

    def to_json(self) -> str:
        return json.dumps({"seed": self.seed, "shard": SHARD, "tokens": json.loads(self.tokens.to_json())})


class Corpus:
    """The clips of a directory, mapped into memory."""

    def __init__(self, place: Path, languages: Sequence[Language], shards: int, part: Part = "train") -> None:
        """Opens the first shards of some languages.

        Raises:
            FileNotFoundError: there are fewer.
        """
        self._frames: list[npt.NDArray[np.uint8]] = []
        self._where: list[tuple[int, int, int]] = []
        self.labels: list[Label] = []
        self.floors: list[float] = []
        for place_of_file, (language, number) in enumerate(product(languages, range(shards))):
            name = _name(part, language, number)
            self._frames.append(np.load(place / f"{name}.npy", mmap_mode="r"))
            first = 0
            with (place / f"{name}.jsonl").open(encoding="utf-8") as lines:
                for line in lines:
                    entry = json.loads(line)
                    self._where.append((place_of_file, first, entry["frames"]))
                    first += entry["frames"]
                    self.floors.append(entry["floor"])
                    segments = tuple(Said(start, end, tuple(text)) for start, end, text in entry["segments"])
                    self.labels.append(Label(entry["language"], segments, tuple(entry["characters"])))

    def __len__(self) -> int:
        return len(self._where)

    @property
    def hours(self) -> float:
        return sum(length for _, _, length in self._where) / 100 / 3600

    def frames(self, clip: int) -> npt.NDArray[np.uint8]:
        """[frames, 80] of a clip."""
        shard, first, length = self._where[clip]
        return self._frames[shard][first : first + length]

    def lengths(self) -> list[int]:
        return [length for _, _, length in self._where]

    def batches(self, rng: Random, frames: int, ceilings: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Every clip once, in batches of about as many frames, each with the length its clips fit in."""
        order = list(range(len(self)))
        rng.shuffle(order)
        waiting: dict[int, list[int]] = {ceiling: [] for ceiling in ceilings}
        for clip in order:
            ceiling = next(ceiling for ceiling in ceilings if self._where[clip][2] <= ceiling)
            waiting[ceiling].append(clip)
            if len(waiting[ceiling]) * ceiling >= frames:
                yield ceiling, waiting[ceiling]
                waiting[ceiling] = []


def make(
    place: Path,
    plan: Plan,
    languages: Sequence[Language],
    shards: int,
    workers: int,
    speaker: Callable[[], clips.Speaker] = espeak,
) -> int:
    """Writes the shards that are not there yet, one a language to validate with too; returns how many those were.

    `speaker` is called once in the process of each shard.

    Raises:
        ValueError: the directory holds a corpus of another plan.
        EspeakMissing: the synthesiser is not installed.
    """
    place.mkdir(parents=True, exist_ok=True)
    description = place / "plan.json"
    if description.is_file() and description.read_text(encoding="utf-8") != plan.to_json():
        raise ValueError(f"{place} holds a corpus of another plan")
    description.write_text(plan.to_json(), encoding="utf-8")
    wanted: list[tuple[Part, Language, int]] = [("validation", language, 0) for language in languages]
    wanted += [("train", language, number) for number, language in product(range(shards), languages)]
    missing = [shard for shard in wanted if not (place / f"{_name(*shard)}.jsonl").is_file()]
    started = time.monotonic()
    # Spawned, so that no process inherits a synthesiser or threads; and anew for every shard, because what eSpeak
    # says begins in the phase of the wave in which it ended what it said before, which nothing but a new process
    # resets.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = [pool.submit(_write_shard, place, plan, shard, speaker) for shard in missing]
        for done, future in enumerate(as_completed(running), 1):
            future.result()
            seconds = time.monotonic() - started
            print(f"synthesised {done} of {len(missing)} shards, {seconds:.0f} s", flush=True)
    return len(missing)


def write_shard(
    place: Path,
    plan: Plan,
    part: Part,
    language: Language,
    number: int,
    count: int | None = None,
    speaker: clips.Speaker | None = None,
) -> None:
    """Synthesises and writes one shard; its labels last, so that it is whole when they are there.

    Every second shard of what training hears is of shuffled words.
    """
    rng = Random(f"{plan.seed} {language} {number}" if part == "train" else f"{plan.seed} {part} {language}")
    speaker = speaker or espeak()
    frames, lines = [], []
    for _ in range(count or (SHARD if part == "train" else VALIDATED)):
        if part == "train":
            clip = clips.draw(rng, language, speaker, shuffle=number % 2 == 1)
        else:
            clip = clips.draw_held_out(rng, language, part, speaker)
        label = Label.of(clip, plan.tokens)
        stored, floor = mel.to_bytes(mel.log_mel(clip.samples))
        frames.append(stored)
        entry = {
            "frames": len(stored),
            "floor": round(floor, 4),
            "language": label.language,
            "segments": [[round(s.start_s, 3), round(s.end_s, 3), s.text] for s in label.segments],
            "characters": label.characters,
        }
        lines.append(json.dumps(entry) + "\n")
    name = _name(part, language, number)
    np.save(place / f"{name}.npy", np.concatenate(frames))
    unfinished = place / f"{name}.part"
    unfinished.write_text("".join(lines), encoding="utf-8")
    unfinished.replace(place / f"{name}.jsonl")


def _write_shard(
    place: Path, plan: Plan, shard: tuple[Part, Language, int], speaker: Callable[[], clips.Speaker]
) -> None:
    write_shard(place, plan, *shard, speaker=speaker())


def _name(part: Part, language: Language, number: int) -> str:
    return f"{language}-{number:05}" if part == "train" else f"{part}-{language}"
