"""This file reads an episode back, and whatever can be saved of one that ends in the middle.

An episode is checked whole when it is opened: every checksum, the digest, and that it was closed with a verdict.
What comes after the first damage is not used. Nothing in the file is executed, and sizes are bounded before
anything is unpacked.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import zstandard
from google.protobuf.message import DecodeError
from mcap.exceptions import EndOfFile, McapError, RecordLengthLimitExceeded
from mcap.records import Attachment, Channel, Chunk, DataEnd, Footer, Message, Metadata, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from robotctl.episode.codec import TOPICS, decode
from robotctl.episode.digest import Digest, checksum
from robotctl.episode.step import Step
from robotctl.errors import InvalidFileError
from robotctl.files import one_line, show_path

MAX_RECORD = 256_000_000  # no record of ours comes near [bytes]
MAX_CHUNK = 256_000_000  # a chunk holds one second [bytes]
UNFINISHED = str(2**64 - 1)  # length of a chunk that the writer was still filling
_MAGIC = b"\x89MCAP0\r\n"
_DAMAGE = (
    McapError, EOFError, ValueError, struct.error, zstandard.ZstdError, RuntimeError, KeyError, MemoryError,
    OverflowError,
)  # fmt: skip
LAST_TOPIC = list(TOPICS)[-1]  # completes a step


@dataclass(frozen=True)
class EpisodeLog:
    """An episode file that was opened and checked."""

    path: Path
    metadata: dict[str, str]  # what was run
    attachments: dict[str, bytes]
    summary: dict[str, Any] | None  # the answer of the run; None when the file ends before it
    digest: str  # of what is there
    damage: str | None  # why the file ends early; None for a sound file
    count: int  # steps that can be read
    duration: float  # time of the last step [s]
    chunks: int  # sound chunks

    @property
    def complete(self) -> bool:
        """Whether this is the whole episode, unaltered."""
        return self.summary is not None and self.damage is None

    @property
    def steps(self) -> Iterator[Step]:
        """The steps from the first to the last sound one; read as they are asked for."""
        for messages in self.messages:
            try:
                step = decode(messages)
            except (DecodeError, ValueError, KeyError) as error:
                raise InvalidFileError(
                    f"{show_path(self.path)}: a step cannot be decoded; was it recorded by another robotctl? ({error})"
                ) from None
            yield step

    @property
    def messages(self) -> Iterator[dict[str, bytes]]:
        """The protobuf messages of every step by topic, as they were logged."""
        messages: dict[str, bytes] = {}
        for topic, _, data in _messages(self.path, self.chunks):
            if topic not in TOPICS:
                continue
            messages[topic] = data
            if topic == LAST_TOPIC:
                yield messages
                messages = {}


def read_episode(path: str | Path) -> EpisodeLog:
    """Opens an episode. InvalidFileError when it is none, or when nothing can be saved of it."""
    path = Path(path)
    metadata: dict[str, str] = {}
    attachments: dict[str, bytes] = {}
    summary: dict[str, str] = {}
    digest = Digest()
    damage: str | None = None
    chunks = count = last = 0
    ended = False
    known = _Channels()
    with _open(path) as stream:
        try:
            for record in StreamReader(stream, emit_chunks=True, record_size_limit=MAX_RECORD).records:
                if isinstance(record, Metadata):
                    if record.name == "run":
                        metadata = dict(record.metadata)
                    elif record.name == "summary":
                        summary = dict(record.metadata)
                    elif record.name == "incomplete":
                        damage = record.metadata.get("reason", "not closed")
                elif isinstance(record, Attachment):
                    attachments[record.name] = record.data
                    digest.attachment(record.name, record.data)
                elif isinstance(record, Chunk):
                    for topic, stamp, data in list(_of_chunk(record, known)):
                        digest.message(topic, stamp, data)
                        if topic == LAST_TOPIC:
                            count, last = count + 1, stamp
                    chunks += 1
                elif isinstance(record, (DataEnd, Footer)):
                    stream.seek(-len(_MAGIC), os.SEEK_END)
                    ended = stream.read() == _MAGIC
                    break  # the rest is an index, which we do not need
        except EndOfFile:
            pass
        except RecordLengthLimitExceeded as error:
            if UNFINISHED not in str(error):
                damage = f"damaged: {one_line(str(error))}"
        except _DAMAGE as error:
            damage = f"damaged: {one_line(str(error)) or type(error).__name__}"
    if not metadata:
        raise InvalidFileError(f"{show_path(path)}: not an episode of robotctl{f' ({damage})' if damage else ''}")
    if damage is None and not (ended and summary):
        damage = "the file ends early: the run was killed, or is still going on"
    answer = None
    if damage is None:
        try:
            answer = json.loads(summary.get("json", ""))
            if not isinstance(answer, dict):
                raise ValueError
        except ValueError:
            damage = "damaged: the summary is not JSON"
        if summary.get("digest") != digest.hexdigest():
            answer, damage = None, "damaged: the digest does not match"
        elif summary.get("checksum") != checksum(metadata, summary.get("json", "")):
            answer, damage = None, "damaged: the summary was altered"
    return EpisodeLog(path, metadata, attachments, answer, digest.hexdigest(), damage, count, last / 1e9, chunks)


def episode_digest(path: str | Path) -> str:
    """Digest of an episode file: equal for two runs of the same seed on one machine."""
    return read_episode(path).digest


def logged(path: str | Path, topic: str) -> Iterator[tuple[float, bytes]]:
    """Time [s] and protobuf bytes of every message on one topic."""
    for name, stamp, data in _messages(Path(path), read_episode(path).chunks):
        if name == topic:
            yield stamp / 1e9, data


def _open(path: Path) -> BinaryIO:
    name = show_path(path)
    try:
        if path.is_dir():
            raise InvalidFileError(f"{name}: a folder, not an episode")
        stream = path.open("rb")
        magic = stream.read(len(_MAGIC))
        stream.seek(0)
    except FileNotFoundError:
        raise InvalidFileError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise InvalidFileError(f"{name}: cannot be read: {one_line(str(error))}") from None
    if magic != _MAGIC:
        stream.close()
        raise InvalidFileError(f"{name}: not an MCAP file")
    return stream


def recorded(log: EpisodeLog) -> Iterator[tuple[str, int, bytes, Schema]]:
    """Topic, stamp [ns], data and schema of every sound message, in the order in which they were written."""
    known = _Channels()
    for topic, stamp, data in _messages(log.path, log.chunks, known):
        yield topic, stamp, data, known.schema_of[topic]


@dataclass
class _Channels:
    """What the chunks read so far say of their messages."""

    topics: dict[int, str] = field(default_factory=dict)  # by channel
    schemas: dict[int, Schema] = field(default_factory=dict)
    schema_of: dict[str, Schema] = field(default_factory=dict)  # by topic


def _messages(path: Path, chunks: int, known: _Channels | None = None) -> Iterator[tuple[str, int, bytes]]:
    """Topic, stamp [ns] and data of the messages in the first `chunks` chunks; what they are goes into `known`."""
    known = known or _Channels()
    if chunks == 0:  # nothing sound to read
        return
    with _open(path) as stream:
        for record in StreamReader(stream, emit_chunks=True, record_size_limit=MAX_RECORD).records:
            if not isinstance(record, Chunk):
                continue
            chunks -= 1
            yield from _of_chunk(record, known)
            if chunks == 0:
                return


def _of_chunk(chunk: Chunk, known: _Channels) -> Iterator[tuple[str, int, bytes]]:
    size = zstandard.frame_content_size(chunk.data) if chunk.compression == "zstd" else 0
    if chunk.compression not in ("zstd", "") or max(chunk.uncompressed_size, size) > MAX_CHUNK:
        raise ValueError("a chunk of a kind or size that robotctl does not write")
    for record in breakup_chunk(chunk, validate_crc=True):
        if isinstance(record, Channel):
            known.topics[record.id] = record.topic
            known.schema_of[record.topic] = known.schemas[record.schema_id]
        elif isinstance(record, Message):
            yield known.topics[record.channel_id], record.log_time, record.data
        elif isinstance(record, Schema):
            known.schemas[record.id] = record
        else:
            raise ValueError(f"unexpected {type(record).__name__} in a chunk")
