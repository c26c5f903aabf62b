"""A speaker for tests: a tone a letter, so that words have times without a synthesiser."""

import numpy as np

from trunkline_whisper_micro.espeak import Speech, Word

LETTER_S = 0.05
PAUSE_S = 0.1
RATE_HZ = 22_050


class Tones:
    """Says every text at one pace, whoever is to say it, and remembers who was."""

    def __init__(self):
        self.voices = []
        self.texts = []

    def say(self, text, voice):
        self.voices.append(voice)
        self.texts.append(text)
        words, time_s = [], 0.0
        for word in text.split():
            end_s = time_s + LETTER_S * len(word)
            words.append(Word(word, time_s, end_s))
            time_s = end_s
        time = np.arange(round((time_s + PAUSE_S) * RATE_HZ)) / RATE_HZ
        sound = 8000 * np.sin(2 * np.pi * 440 * time) * (time < time_s)
        return Speech(sound.astype(np.int16), RATE_HZ, tuple(words))


class Mute:
    """Says nothing at all."""

    def say(self, text, voice):
        return Speech(np.zeros(0, np.int16), RATE_HZ, ())


_said = 0


class Drifting(Tones):
    """As eSpeak: what it says depends on how much was said in its process before."""

    def say(self, text, voice):
        global _said
        _said += 1
        speech = super().say(text, voice)
        return Speech(np.roll(speech.samples, _said), speech.rate_hz, speech.words)
