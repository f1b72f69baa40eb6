"""One number for all that happened in an episode: equal digests mean the same episode, bit for bit.

Wall times (`/timing`), the date and the summary's figures about the machine are left out; everything else counts:
the files the episode was made from, every observation, belief, plan, verdict and every sample of ground truth.
"""

from __future__ import annotations

import hashlib
import json
import struct

EXCLUDED = frozenset({"/timing"})


class Digest:
    """SHA-256 over attachments and messages in the order in which they are written."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def attachment(self, name: str, data: bytes) -> None:
        self._add(b"attachment", name, 0, hashlib.sha256(data).digest())

    def message(self, topic: str, stamp: int, data: bytes) -> None:
        if topic not in EXCLUDED:
            self._add(b"message", topic, stamp, data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _add(self, kind: bytes, name: str, stamp: int, data: bytes) -> None:
        label = name.encode()
        self._hash.update(kind + struct.pack("<IqQ", len(label), stamp, len(data)) + label)
        self._hash.update(data)


def checksum(metadata: dict[str, str], summary: str) -> str:
    """Guards the records that the digest leaves out, against damage; not against somebody who means to alter them."""
    return hashlib.sha256(json.dumps([sorted(metadata.items()), summary]).encode()).hexdigest()
