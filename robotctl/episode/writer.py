"""This file writes an episode while it happens: MCAP with protobuf channels, flushed every second.

Steps are gathered for that second and turned into bytes together: one by one, between the rest of the control cycle,
with nothing of it left in the processor's caches, each would take twice as long.

A path belongs to one episode for good: it is created exclusively, so a second run on it is refused and nothing is
ever overwritten. What cannot be written stops the episode: the robot never moves unlogged.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import foxglove
from foxglove.mcap import MCAPWriteOptions

from robotctl.episode.codec import TOPICS, encode
from robotctl.episode.digest import Digest, checksum
from robotctl.episode.drawing import SCHEMAS, Drawing
from robotctl.episode.schema import DESCRIPTOR_SET
from robotctl.episode.step import Step
from robotctl.errors import RobotctlError, UsageError
from robotctl.jsontext import json_text
from robotctl.scene import Scene

PROFILE = "robotctl"
FLUSH_EVERY = 1.0  # at most this much is lost when the process is killed [s], simulated or wall, whichever is first


class EpisodeWriteError(RobotctlError):
    """The log cannot be written: the disk is full, or the folder is not writable."""


class EpisodeWriter:
    """The open log of one episode. Use it as a context manager; an episode that is not closed is incomplete."""

    def __init__(
        self,
        path: Path,
        attachments: dict[str, bytes],
        metadata: dict[str, str],
        scene: Scene | None = None,
    ) -> None:
        self.path = Path(path)
        self._stream = create(self.path)
        self._context = foxglove.Context()
        self._channels: dict[str, foxglove.Channel] = {}
        self._drawing = Drawing(scene)
        self._digest = Digest()
        self._gathered: list[Step] = []
        self._open = True
        self._flushed_at, self._flushed_wall = 0.0, time.monotonic()
        options = MCAPWriteOptions(profile=PROFILE, chunk_size=None, compression_threads=0)
        self._sink = _Sink(self._stream)
        try:
            self._mcap = foxglove.open_mcap(cast(BinaryIO, self._sink), context=self._context, writer_options=options)
            started = datetime.now(UTC).isoformat(timespec="seconds")
            self._metadata = {**metadata, "started": started}
            self._mcap.write_metadata("run", self._metadata)
            for name in sorted(attachments):
                self._attach(name, attachments[name])
            self._flush()
        except (RuntimeError, OSError) as error:
            raise self._failed(error) from None

    def append(self, step: Step) -> None:
        """Adds one control tick. Its arrays must not change any more."""
        self._gathered.append(step)
        now = step.observation.time
        if now - self._flushed_at >= FLUSH_EVERY or time.monotonic() - self._flushed_wall >= FLUSH_EVERY:
            self._flushed_at = now
            try:
                self._flush()
            except (RuntimeError, OSError) as error:
                raise self._failed(error) from None

    def close(self, summary: dict[str, Any]) -> str:
        """Writes the verdict and ends the file; returns the episode's digest (see digest.py)."""
        try:
            self._flush()
            digest = self._digest.hexdigest()
            text = json_text({**summary, "digest": digest}, indent=None)
            check = checksum(self._metadata, text)
            self._mcap.write_metadata("summary", {"json": text, "digest": digest, "checksum": check})
            self._end()
        except (RuntimeError, OSError) as error:
            raise self._failed(error) from None
        return digest

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Without `close` before, the file says that it is incomplete, and why."""
        if not self._open:
            return
        reason = f"{kind.__name__}: {error}" if kind is not None else "the episode was not closed"
        try:
            self._flush()
            self._mcap.write_metadata("incomplete", {"reason": reason})
            self._end()
        except (RuntimeError, OSError) as failure:
            self._failed(failure)

    def _attach(self, name: str, data: bytes) -> None:
        self._digest.attachment(name, data)
        media = "application/json" if name.endswith(".json") else "application/yaml"
        media = "application/zip" if name.endswith(".zip") else media
        self._mcap.attach(log_time=0, create_time=0, name=name, media_type=media, data=data)

    def _log(self, topic: str, data: bytes, stamp: int) -> None:
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._channel(topic)
        self._digest.message(topic, stamp, data)
        channel.log(data, log_time=stamp)

    def _channel(self, topic: str) -> foxglove.Channel:
        if topic in TOPICS:
            schema = foxglove.Schema(name=f"robotctl.{TOPICS[topic]}", encoding="protobuf", data=DESCRIPTOR_SET)
        else:
            schema = SCHEMAS.get(topic, SCHEMAS["/plan/path"]).get_schema()  # /people/NAME are poses too
        return foxglove.Channel(topic, message_encoding="protobuf", schema=schema, context=self._context)

    def _flush(self) -> None:
        """Hands over to the disk what has gathered; OSError when it is full."""
        self._flushed_wall = time.monotonic()
        while self._gathered:  # a step that cannot be written is not tried again, nor are those before it
            step = self._gathered.pop(0)
            stamp = round(step.observation.time * 1e9)
            for topic, data in self._drawing.draw(step):
                self._log(topic, data, stamp)
            for topic, data in encode(step).items():
                self._log(topic, data, stamp)
        self._mcap.flush()
        self._sink.check()

    def _end(self) -> None:
        self._open = False
        self._mcap.close()
        self._close_channels()
        self._stream.close()
        self._sink.check()

    def _close_channels(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def _failed(self, error: RuntimeError | OSError) -> EpisodeWriteError:
        """Gives the file up; what was flushed before stays readable."""
        if self._open:
            self._open = False
            with contextlib.suppress(RuntimeError):
                self._mcap.close()
        self._close_channels()
        self._stream.close()
        reason = self._sink.error.strerror if self._sink.error is not None else None
        return EpisodeWriteError(f"{self.path}: the episode cannot be written: {reason or error}")


class _Sink:
    """The file as the MCAP library writes to it.

    The library prints what a write raises, and goes on. So a failed write is remembered here, and what comes after it
    is dropped, though counted: the file keeps its beginning.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._at = self._end = 0  # where the library takes itself to be
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest and self.error is None:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            self.error = error
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._end)[whence] + offset
        if self.error is None:
            self._stream.seek(self._at)
        return self._at

    def flush(self) -> None:
        if self.error is None:
            self._stream.flush()

    def check(self) -> None:
        """Raises what a write failed with."""
        if self.error is not None:
            raise self.error


def create(path: Path) -> BinaryIO:
    """Opens a file that did not exist before, for this process alone; UsageError if it does, EpisodeWriteError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return cast(BinaryIO, path.open("xb", buffering=0))
    except FileExistsError:
        if path.parent.is_dir():
            raise UsageError(
                f"{path}: exists already, and episodes are never overwritten; choose another path"
            ) from None
        raise EpisodeWriteError(f"{path.parent}: is not a folder") from None
    except OSError as error:
        raise EpisodeWriteError(f"{path}: the episode cannot be written: {error.strerror}") from None
