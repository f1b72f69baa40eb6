"""This file feeds inputs to a child process and keeps what ends otherwise than it may."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzzing.inputs import Source, sources

SECONDS = 5.0  # of processor time for one input
PATIENCE = 12.0  # times as long on the clock: the machine may be busy
MEGABYTES = 700  # that one input may use at its peak: a motion file may unpack to 400
KEPT = 3  # inputs of one finding
BATCH = 64  # inputs that the child is told of at once


@dataclass(frozen=True)
class Outcome:
    """How one input ended. `accepted` and `refused` are what may be."""

    kind: str
    where: str = ""  # in robotctl
    text: str = ""

    @property
    def allowed(self) -> bool:
        return self.kind in ("accepted", "refused")


@dataclass
class Result:
    """What came of one parser's inputs."""

    parser: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    findings: Counter[str] = field(default_factory=Counter)  # kind and place -> how often
    examples: dict[str, str] = field(default_factory=dict)  # the same -> folder, or text


class Child:
    """A process that reads inputs, restarted when it dies."""

    def __init__(
        self,
        scratch: Path,
        seconds: float = SECONDS,
        patience: float = PATIENCE,
        megabytes: int = MEGABYTES,
        readers: str = "fuzzing.readers",
    ) -> None:
        self._scratch, self._seconds, self._patience = scratch, seconds, patience
        self._arguments = [str(scratch), str(seconds), str(megabytes), readers]
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = b""  # what it has said and nobody has read
        self.starts = 0

    def read(self, parser: str, paths: Sequence[Path]) -> list[Outcome]:
        """Has the child read files, one after the other; it is told of all of them at once, which saves waiting."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(paths):
            process = self._process or self._start()
            assert process.stdin is not None
            requests = [json.dumps({"parser": parser, "path": str(path)}) for path in paths[len(outcomes) :]]
            with suppress(BrokenPipeError):
                process.stdin.write("".join(f"{request}\n" for request in requests).encode())
                process.stdin.flush()
            for _ in requests:
                outcomes.append(self._outcome(process))
                if self._process is None:
                    break
        return outcomes

    def _outcome(self, process: subprocess.Popen[bytes]) -> Outcome:
        """How the next input ended; afterwards there is no process if that was its end."""
        line = self._line(process, self._patience * self._seconds)
        if line is None:
            self.stop()
            return Outcome("time-out", text=f"no answer in {self._patience * self._seconds:g} s")
        if not line:
            code = process.wait()
            self.stop()
            if code == -signal.SIGPROF:
                return Outcome("time-out", text=f"more than {self._seconds:g} s of processor time")
            return Outcome(f"signal {-code}" if code < 0 else f"process ended with {code}")
        answer = json.loads(line)
        return Outcome(answer["outcome"], answer["where"], answer["text"])

    def _start(self) -> subprocess.Popen[bytes]:
        tools = Path(__file__).resolve().parents[1]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tools.parent), str(tools), os.environ.get("PYTHONPATH", "")]),
            "TMPDIR": str(self._scratch),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(tools / "fuzzing" / "child.py"), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=self._scratch,
        )
        self._answers = b""
        self.starts += 1
        if self._line(self._process, 300.0) != b"ready\n":
            self.stop()
            raise RuntimeError("the child does not start; run tools/fuzzing/child.py by hand to see why")
        return self._process

    def _line(self, process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        """The next line of its answers; empty when it has ended, None when it takes too long."""
        assert process.stdout is not None
        while b"\n" not in self._answers:
            if not select.select([process.stdout], [], [], seconds)[0]:
                return None
            fresh = os.read(process.stdout.fileno(), 1 << 16)
            if not fresh:
                return b""
            self._answers += fresh
        line, _, self._answers = self._answers.partition(b"\n")
        return line + b"\n"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
            self._process = None


@contextmanager
def workplace() -> Iterator[tuple[Path, dict[str, Source]]]:
    """A scratch folder with the packaged files, and the sources of inputs."""
    with tempfile.TemporaryDirectory(prefix="robotctl-fuzz-") as folder:
        scratch = Path(folder).resolve()
        yield scratch, sources(scratch)


def make_input(source: Source, parser: str, seed: int, index: int) -> bytes:
    """Input number `index`: the same bytes for the same seed, whatever came before."""
    return source.make(Random(f"{seed}:{parser}:{index}"))


def fuzz(
    parser: str,
    source: Source,
    child: Child,
    inputs: range,
    seed: int,
    out: Path | None = None,
    progress: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Reads the inputs of one parser; findings go to `out/PARSER-INDEX/`."""
    result = Result(parser)
    for start in range(inputs.start, inputs.stop, BATCH):
        indices = range(start, min(start + BATCH, inputs.stop))
        batch = [make_input(source, parser, seed, index) for index in indices]
        paths = [source.folder / f"input-{parser}-{index}{source.suffix}" for index in indices]
        for index, path, data in zip(indices, paths, batch, strict=True):
            path.write_bytes(data)
            if source.card:
                path.with_suffix(".json").write_bytes(_card(source.card, Random(f"{seed}:{parser}:{index}:card")))
        outcomes = child.read(parser, paths)
        for index, path, data, outcome in zip(indices, paths, batch, outcomes, strict=True):
            path.unlink(missing_ok=True)
            if source.card:
                path.with_suffix(".json").unlink(missing_ok=True)
            _count(result, outcome)
            if not outcome.allowed:
                name = f"{outcome.kind} {outcome.where}".strip()
                if out is not None and result.findings[name] <= KEPT:
                    _keep(out / f"{parser}-{index}", data, source.suffix, outcome, seed, index)
                    result.examples.setdefault(name, str(out / f"{parser}-{index}"))
                result.examples.setdefault(name, outcome.text)
        progress(result)
    return result


def _count(result: Result, outcome: Outcome) -> None:
    result.inputs += 1
    result.accepted += outcome.kind == "accepted"
    result.refused += outcome.kind == "refused"
    if not outcome.allowed:
        result.findings[f"{outcome.kind} {outcome.where}".strip()] += 1


def _card(card: bytes, rng: Random) -> bytes:
    """The card beside a model, now and then a broken one."""
    return card if rng.random() < 0.9 else rng.choice((b"", b"[]", b"\xff", b"[" * 100_000, b"{"))


def _keep(folder: Path, data: bytes, suffix: str, outcome: Outcome, seed: int, index: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"input{suffix}").write_bytes(data)
    about = {"seed": seed, "index": index, "outcome": outcome.kind, "where": outcome.where}
    (folder / "finding.json").write_text(json.dumps(about, indent=2) + "\n")
    (folder / "finding.txt").write_text(outcome.text + "\n", errors="backslashreplace")
