"""What the exported model hears, through WhisperPipeline, of clips that training never could have made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, Final

import jiwer
import numpy as np
import openvino_genai

from trunkline_phrases import Language, spoken
from trunkline_whisper_micro import augment, clips, noises
from trunkline_whisper_micro.clips import WINDOW_S, Clip, Speaker
from trunkline_whisper_micro.espeak import espeak
from trunkline_whisper_micro.noises import RATE_HZ

CLIPS: Final = 300
"""Of a language, for each condition."""
TIMED: Final = 100
"""Of these, with the times of sentences and words."""
SILENT_MINUTES: Final = 10
_SEED: Final = 4211


class Listener:
    """The exported model."""

    def __init__(self, place: Path, word_times: bool = False) -> None:
        options = {"word_timestamps": True} if word_times else {}
        self._pipeline: Any = openvino_genai.WhisperPipeline(place, "CPU", INFERENCE_NUM_THREADS=1, **options)

    def hear(self, clip: Clip, **options: object) -> Any:
        return self._pipeline.generate(clip.samples, task="transcribe", **options)

    def text(self, clip: Clip, language: Language | None = None) -> str:
        options = {} if language is None else {"language": f"<|{language}|>"}
        return str(self.hear(clip, **options).texts[0]).strip()


def measure(
    place: Path, languages: Sequence[Language], speaker: Speaker, count: int = CLIPS
) -> dict[str, Any]:
    """Every figure of the card that is the exported model's."""
    listener = Listener(place)
    figures: dict[str, Any] = {"clips": count, "languages": {}}
    detected = []
    for language in languages:
        test = [*_drawn(language, speaker, count, noise=True)]
        results = [listener.hear(clip) for clip in test]
        detected += [result.language.strip("<|>") == language for result in results]
        figures["languages"][language] = {
            "noise": _scores(test, [result.texts[0] for result in results]),
            "clean": _errors(listener, [*_drawn(language, speaker, count, noise=False)]),
            "cut": _errors(listener, [*_cut(test)]),
            "heard": _errors(listener, [*_heard(language, speaker, count)]),
            "times": _apart(place, language, min(count, TIMED)),
            "language": round(float(np.mean(detected[-len(test) :])), 4),
            "templates": len({template for clip in test for template in clip.templates}),
            "voices": len({clip.voice for clip in test}),
            "seconds": round(sum(len(clip.samples) for clip in test) / RATE_HZ, 1),
        }
    figures["language"] = round(float(np.mean(detected)), 4)
    figures["silence"] = silence(listener.text, languages[0])
    return figures


def parity(listener: Listener, transcribe: Callable[[Clip], str], heard: Sequence[Clip]) -> float:
    """The share of clips of which the exported model says exactly what the network says."""
    same = [transcribe(clip).strip() == listener.text(clip, clip.language) for clip in heard]
    return round(float(np.mean(same)), 4)


def silence(text: Callable[[Clip], str], language: Language) -> dict[str, Any]:
    """Words in ten minutes in which nobody speaks, by kind of sound."""
    makers: Mapping[str, noises.Maker] = {**noises.TRAINING, **noises.HELD_OUT}
    kinds = ["silence", *makers]
    numbers = np.random.default_rng(_SEED)
    words = dict.fromkeys(kinds, 0)
    count = round(WINDOW_S * RATE_HZ)
    windows = round(SILENT_MINUTES * 60 / WINDOW_S)
    for window in range(windows):
        kind = kinds[window % len(kinds)]
        samples = np.zeros(count, np.float32)
        if kind != "silence":
            samples = augment.gain(makers[kind](numbers, count), float(numbers.uniform(-50.0, -1.0)))
        words[kind] += len(spoken(text(Clip(samples, language, (), (), "", 0)), language).split())
    return {"minutes": windows * WINDOW_S / 60, "words": sum(words.values()), "by_kind": words}


def times(place: Path, language: Language, speaker: Speaker, count: int) -> dict[str, Any]:
    """How far the times of sentences and words are from the truth, in seconds."""
    listener = Listener(place, word_times=True)
    test = [*_drawn(language, speaker, count, noise=True)]
    results = [listener.hear(clip, return_timestamps=True, word_timestamps=True) for clip in test]
    return {"segments": _segment_times(test, results), "words": _word_times(test, results)}


def _apart(place: Path, language: Language, count: int) -> dict[str, Any] | None:
    """`times` in a process of its own, None if that dies.

    The pipeline's word times end the process when a network that has learned too little says time stamps in
    disorder; all other figures must survive that.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_times, place, language, count).result()
        except BrokenProcessPool:
            return None


def _times(place: Path, language: Language, count: int) -> dict[str, Any]:
    return times(place, language, espeak(), count)


def _drawn(language: Language, speaker: Speaker, count: int, noise: bool) -> Iterator[Clip]:
    """Sentences of the test split in voices and at speeds of the test."""
    rng = Random(f"{_SEED} {language} {noise}")
    for _ in range(count):
        yield clips.draw_held_out(rng, language, "test", speaker, noise)


def _heard(language: Language, speaker: Speaker, count: int) -> Iterator[Clip]:
    """What training may have heard: the gap from here to the test is what does not generalise."""
    rng = Random(f"{_SEED} {language} heard")
    for _ in range(count):
        yield clips.draw(rng, language, speaker)


def _cut(whole: Sequence[Clip]) -> Iterator[Clip]:
    """The beginnings of clips, as a live session hears them."""
    rng = Random(_SEED)
    for clip in whole:
        length_s = len(clip.samples) / RATE_HZ
        first_s = clip.segments[0].start_s
        yield clips.cut(clip, 0.0, rng.uniform(min(first_s + 0.5, length_s), length_s))


def _errors(listener: Listener, heard: Sequence[Clip]) -> dict[str, Any]:
    return _scores(heard, [listener.text(clip) for clip in heard])


def _scores(heard: Sequence[Clip], texts: Sequence[str]) -> dict[str, Any]:
    """Word errors over all clips: those of an empty clip are all insertions."""
    references = [spoken(clip.text, clip.language) for clip in heard]
    hypotheses = [spoken(text, clip.language) for clip, text in zip(heard, texts, strict=True)]
    wrong = total = 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        if reference:
            output = jiwer.process_words(reference, hypothesis)
            wrong += output.substitutions + output.deletions + output.insertions
            total += len(reference.split())
        else:
            wrong += len(hypothesis.split())
    exact = [reference == hypothesis for reference, hypothesis in zip(references, hypotheses, strict=True)]
    return {
        "wer": round(wrong / max(total, 1), 4),
        "words": total,
        "sentences_right": round(float(np.mean(exact)), 4),
    }


def _segment_times(heard: Sequence[Clip], results: Sequence[Any]) -> dict[str, Any]:
    """Seconds between where a sentence starts and ends and where it is said to, of those found as one segment."""
    starts, ends = [], []
    for clip, result in zip(heard, results, strict=True):
        if result.chunks and len(result.chunks) == len(clip.segments):
            for segment, chunk in zip(clip.segments, result.chunks, strict=True):
                starts.append(abs(chunk.start_ts - segment.start_s))
                ends.append(abs(chunk.end_ts - segment.end_s))
    return {"found": len(starts), "of": len(heard), "start_s": _median(starts), "end_s": _median(ends)}


def _word_times(heard: Sequence[Clip], results: Sequence[Any]) -> dict[str, Any]:
    """The same of words, in sentences that were heard right."""
    starts, ends = [], []
    for clip, result in zip(heard, results, strict=True):
        truth = [word for segment in clip.segments for word in segment.words]
        said = [timing for timing in result.words or [] if spoken(timing.word, clip.language)]
        if [spoken(word.text, clip.language) for word in truth] == [
            spoken(timing.word, clip.language) for timing in said
        ]:
            starts += [abs(timing.start_ts - word.start_s) for timing, word in zip(said, truth, strict=True)]
            ends += [abs(timing.end_ts - word.end_s) for timing, word in zip(said, truth, strict=True)]
    return {"found": len(starts), "start_s": _median(starts), "end_s": _median(ends)}


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 3) if values else None
