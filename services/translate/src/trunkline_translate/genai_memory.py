"""What a pipeline takes of memory."""

from __future__ import annotations

from typing import Final

from trunkline_translate.facts import Facts

_BLOCK: Final = 32
"""Tokens of a block of the KV cache on a CPU; elsewhere a block has fewer, and there are as many more."""
_VALUE_BYTES: Final = 2
"""Of a value in the KV cache. A CPU keeps one byte and a share of a scale."""
_FILES_FACTOR: Final = 4
"""Memory of the model, as a multiple of its files: INT8 weights are kept as they are and unpacked, beside graphs."""
_PROCESS_BYTES: Final = 70 * 2**20
"""Of a process with OpenVINO and no model yet."""


def kv_blocks(facts: Facts, sequences: int, cache_mb: int) -> int:
    """Blocks of the KV cache: for every sequence at its longest, as far as the memory goes, and one at the least."""
    longest = -(-facts.places // _BLOCK)
    return max(longest + 1, min(sequences * longest, cache_mb * 2**20 // _block_bytes(facts)))


def pipeline_bytes(facts: Facts, sequences: int, cache_mb: int) -> int:
    """Memory of a pipeline: its process, its model, and its KV cache."""
    cache = kv_blocks(facts, sequences, cache_mb) * _block_bytes(facts)
    return _PROCESS_BYTES + facts.files_bytes * _FILES_FACTOR + cache


def _block_bytes(facts: Facts) -> int:
    return facts.token_values * _VALUE_BYTES * _BLOCK
