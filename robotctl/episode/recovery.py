"""This file turns an episode that was cut short into a sound MCAP file, which says that it is incomplete."""

from __future__ import annotations

from pathlib import Path
from typing import IO, cast

from mcap.writer import CompressionType, Writer

from robotctl.episode.reader import EpisodeLog, recorded
from robotctl.episode.writer import PROFILE, EpisodeWriteError, create
from robotctl.errors import UsageError
from robotctl.files import show_path


def recover(log: EpisodeLog, out: Path) -> int:
    """Writes what can be read of an incomplete episode to a new file, with an index; returns the number of steps.

    Every message, attachment and word about the run that is sound is kept as it was, so that the digest of the new file
    is that of what was there. UsageError when the episode is complete or `out` exists, EpisodeWriteError when it cannot
    be written.
    """
    if log.complete:
        raise UsageError(f"{show_path(log.path)}: complete; there is nothing to recover")
    stream = create(out)
    try:
        with stream:
            _write(log, cast(IO[bytes], stream))
    except OSError as error:
        out.unlink(missing_ok=True)
        raise EpisodeWriteError(f"{out}: the episode cannot be written: {error.strerror}") from None
    return log.count


def _write(log: EpisodeLog, stream: IO[bytes]) -> None:
    writer = Writer(stream, compression=CompressionType.ZSTD)
    writer.start(profile=PROFILE)
    writer.add_metadata("run", log.metadata)
    for name, data in log.attachments.items():
        media = {".json": "application/json", ".zip": "application/zip"}.get(Path(name).suffix, "application/yaml")
        writer.add_attachment(create_time=0, log_time=0, name=name, media_type=media, data=data)
    channels: dict[str, int] = {}
    for topic, stamp, data, schema in recorded(log):
        if topic not in channels:
            known = writer.register_schema(schema.name, schema.encoding, schema.data)
            channels[topic] = writer.register_channel(topic, "protobuf", known)
        writer.add_message(channels[topic], log_time=stamp, publish_time=stamp, data=data)
    writer.add_metadata("incomplete", {"reason": log.damage or "no verdict"})
    writer.finish()
