"""This file breaks container formats from within: archives, MCAP records, safetensors headers."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from random import Random
from typing import Any

import numpy as np
import zstandard

from fuzzing.mutate import MOST, PATHS, WORDS, mutate_bytes, mutate_tree, scalar
from fuzzing.samples import npz

_MAGIC = 8  # bytes of MCAP's magic number
_CHUNK = 6


# ---- .npz ------------------------------------------------------------------------------------------------------


def npz_motion(rng: Random, arrays: dict[str, np.ndarray]) -> bytes:
    """A motion with odd arrays, an array file with a lying header, or an archive that is a bomb."""
    kind = rng.randrange(6)
    arrays = dict(arrays)
    key = rng.choice(sorted(arrays))
    if kind == 0:
        arrays[key] = _odd_array(rng, arrays[key])
        return npz(arrays, rng.random() < 0.5)
    if kind == 1:
        arrays[rng.choice(("a", "TIME_S", "x" * 1000, "a/b", "é"))] = arrays.pop(key)
        return npz(arrays)
    if kind == 2:  # other sizes of everything
        samples, joints = rng.choice((0, 1, 2, 1000)), rng.choice((0, 1, 20, 500))
        names = np.array(
            [rng.choice((*arrays["joint_names"].tolist(), *WORDS[:6], "a\nb")) for _ in range(joints)], dtype=str
        )
        xyz = np.full((samples, joints, 3), rng.choice((0.0, 1e300, 99.0)))
        return npz(
            {"time_s": np.arange(samples) * rng.choice((0.0, 1e-300, 1.0, 1e300)), "joint_names": names, "xyz_m": xyz}
        )
    parts = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
    name = f"{key}.npy"
    if kind == 3:
        parts[name] = _lying_header(rng, parts[name])
    elif kind == 4:
        parts[name] = mutate_bytes(rng, parts[name], ())
    else:  # 300 MB of zeros, in a few hundred kB; or more than that is said
        shape = rng.choice(((100_000, 125, 3), (2, 20, 937_500), (20_000_000,)))
        parts[name] = (
            _npy(np.zeros(shape)) if rng.random() < 0.02 else _header(shape, "<f8") + bytes(rng.choice((0, 800)))
        )
    return _archive(rng, parts)


def _odd_array(rng: Random, array: np.ndarray) -> np.ndarray:
    out: Any = array.copy()
    kind = rng.randrange(9)
    if kind == 0 and out.dtype.kind == "f":
        out.flat[rng.randrange(out.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e308, -0.0, 5e-324, 101.0))
    elif kind == 1:
        out = out.astype(rng.choice(("U5", "S3", "O"))) if out.dtype.kind == "f" else np.arange(len(out), dtype=float)
        out = out.astype("U9") if out.dtype == object else out
    elif kind == 2 and out.dtype.kind == "f":
        out = out.astype(rng.choice(("c16", "f2", "i1", "u8", "?", "M8[s]", "m8[s]", "f16")), casting="unsafe")
    elif kind == 3:
        out = out[..., None] if rng.random() < 0.5 else out.reshape(-1)
    elif kind == 4:
        out = out[: rng.randrange(len(out))]
    elif kind == 5:
        out = np.array(rng.choice((1.0, "x", b"\xff", np.nan)))
    elif kind == 6:
        out = np.zeros(rng.choice((2, 5)), dtype=[("a", "f8"), ("b", "U3")])
    elif kind == 7:
        out = np.array([b"\xff\xfe", b"Head"] * 10) if rng.random() < 0.5 else out[::-1]
    else:
        out = np.asfortranarray(out)
    return np.asarray(out)


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _header(shape: Any, kind: str) -> bytes:
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1", "replace")


def _lying_header(rng: Random, part: bytes) -> bytes:
    shape = rng.choice(
        ((2**62,), (10**11,), (-1,), (2**31, 2**31), (0, 2**40), 5, "x", (1.5,), ((),), (True,), (5, 20, 3))
    )
    kind = rng.choice(("<f8", "|O", "|V8", "<U400000000", ">f4", "x", "", "<m8", "f8,f8", "<c16", "|b1"))
    head = _header(shape, kind)
    if rng.random() < 0.2:
        head = head.replace(b"False", rng.choice((b"None", b"1+1", b"[" * 500, b"__import__('os')", b"'a'", b"{" * 90)))
    body = part[part.index(b"\n") + 1 :]
    if rng.random() < 0.2:
        body = b"cos\nsystem\n(S'ls'\ntR."
    return head + body


def _archive(rng: Random, parts: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return _odd_archive(rng, stream.getvalue())


def _odd_archive(rng: Random, data: bytes) -> bytes:
    """Now and then a field of the central directory or a local header is another."""
    if rng.random() < 0.6:
        return data
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 5))):
        signature = rng.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
        places = [i for i in range(len(out) - 30) if out[i : i + 4] == signature]
        if places:
            at = rng.choice(places) + rng.randrange(4, 30)
            size = rng.choice((1, 2, 4))
            out[at : at + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return bytes(out)


# ---- bundles of an episode -------------------------------------------------------------------------------------


def zipped(rng: Random, data: bytes) -> bytes:
    """A bundle with odd names, an odd manifest, or entries that lie about their size."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    kind = rng.randrange(4)
    if kind == 0:
        manifest = mutate_tree(rng, json.loads(parts["manifest.json"]))
        parts["manifest.json"] = json.dumps(manifest, default=str).encode("utf-8", "replace")
    elif kind == 1:
        parts["manifest.json"] = mutate_bytes(rng, parts["manifest.json"], ())
    elif kind == 2:
        name = rng.choice(
            (*PATHS, "scenes", "scenes/user", "manifest.json/x", "a/../../b", "con", "x" * 300, "a//b", "./a")
        )
        parts[name.replace("\0", "") or "x"] = rng.choice((b"", b"x", bytes(1_000_000)))
    else:
        name = rng.choice(sorted(parts))
        parts[name] = rng.choice((b"", b"[" * 10_000, b"\xff" * 100, b"{}", b"[]", b"null", bytes(3_000_000)))
    return _archive(rng, parts)


# ---- MCAP ------------------------------------------------------------------------------------------------------


def _records(data: bytes) -> list[tuple[int, bytes]]:
    out, at = [], 0
    while at + 9 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 9], "little")
        if at + 9 + size > len(data):
            break
        out.append((data[at], data[at + 9 : at + 9 + size]))
        at += 9 + size
    return out


def _joined(records: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([op]) + struct.pack("<Q", len(content)) + content for op, content in records)


def mcap(rng: Random, data: bytes) -> bytes:
    """An episode whose records are dropped, doubled, swapped or broken, also inside of a chunk."""
    records = _records(data[_MAGIC:])
    for _ in range(rng.choice((1, 1, 2, 4))):
        _break_records(rng, records, inside=rng.random() < 0.6)
    out = data[:_MAGIC] + _joined(records) + (data[-_MAGIC:] if rng.random() < 0.8 else b"")
    return out if rng.random() < 0.8 else mutate_bytes(rng, out, ())


def _break_records(rng: Random, records: list[tuple[int, bytes]], inside: bool) -> None:
    if not records:
        return
    chunks = [i for i, (op, _) in enumerate(records) if op == _CHUNK]
    if inside and chunks:
        i = rng.choice(chunks)
        records[i] = _CHUNK, _chunk(rng, records[i][1])
        return
    i, j = rng.randrange(len(records)), rng.randrange(len(records))
    op, content = records[i]
    kind = rng.randrange(6)
    if kind == 0:
        del records[i]
    elif kind == 1:
        records.insert(j, records[i])
    elif kind == 2:
        records[i], records[j] = records[j], records[i]
    elif kind == 3:
        records[i] = op, mutate_bytes(rng, content, [records[j][1]])
    elif kind == 4:
        records[i] = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 127, 255)), content
    else:
        records[i] = op, content[: rng.randint(0, len(content))]


def _chunk(rng: Random, content: bytes) -> bytes:
    """A chunk with other records in it, whose checksum (0) nobody verifies; or a bomb."""
    try:
        start, end, size, _ = struct.unpack_from("<QQQI", content)
        (length,) = struct.unpack_from("<I", content, 28)
        word = content[32 : 32 + length]
        packed = content[40 + length :]
        unpacker = zstandard.ZstdDecompressor()
        inner = unpacker.decompress(packed, max_output_size=min(size, MOST)) if word == b"zstd" else packed
    except (struct.error, zstandard.ZstdError, MemoryError):
        return mutate_bytes(rng, content, ())
    if rng.random() < 0.02:
        inner = bytes(rng.choice((1_000_000, 300_000_000)))
    else:
        records = _records(inner)
        for _ in range(rng.choice((1, 1, 3))):
            _break_records(rng, records, inside=False)
        inner = _joined(records)
    size = rng.choice((len(inner), len(inner), len(inner), 0, 10, 2**40, 2**64 - 1))
    packed = zstandard.ZstdCompressor(write_content_size=rng.random() < 0.7).compress(inner)
    word = rng.choice((b"zstd",) * 8 + (b"", b"lz4", b"x", b"\xff"))
    return (
        struct.pack("<QQQI", start, end, size, 0)
        + struct.pack("<I", len(word))
        + word
        + struct.pack("<Q", len(packed))
        + packed
    )


# ---- models ----------------------------------------------------------------------------------------------------


def safetensors(rng: Random, data: bytes) -> bytes:
    """A model with an odd header, odd notes, or odd numbers."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind = rng.randrange(5)
    if kind == 0:
        header = mutate_tree(rng, header)
    elif kind in (1, 2):
        about = json.loads(header["__metadata__"]["robotctl"])
        if kind == 1:
            about = mutate_tree(rng, about)
        else:
            about["notes"] = mutate_tree(rng, about.get("notes"))
        header["__metadata__"]["robotctl"] = json.dumps(about)
    elif kind == 3:
        name = rng.choice([key for key in header if key != "__metadata__"])
        entry = header[name]
        change = rng.randrange(3)
        if change == 0:
            entry["dtype"] = rng.choice(("F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "x", "U64"))
        elif change == 1:
            entry["shape"] = rng.choice(
                ([], [0], [1] * 40, [2**40], [-1], list(reversed(entry["shape"])), entry["shape"] + [1])
            )
        else:
            entry["data_offsets"] = rng.choice(([0, 0], [0, 2**62], [5, 1], [0, len(body)], [], [-1, 4]))
    else:  # other numbers in one array, which checks must see
        name = rng.choice([key for key in header if key != "__metadata__"])
        begin, end = header[name]["data_offsets"]
        value = rng.choice((float("nan"), float("inf"), -1.0, 0.0, 1e30, -1e30, 1e-30))
        count = (end - begin) // 4
        at = rng.randrange(count) if count else 0
        many = count - at if rng.random() < 0.3 else 1
        body = body[: begin + 4 * at] + struct.pack("<f", value) * many + body[begin + 4 * (at + many) :]
    text = json.dumps(header, default=lambda _: scalar(rng)).encode("utf-8", "replace")
    size = len(text) if rng.random() < 0.95 else rng.choice((0, 2**63, len(data), len(text) - 1))
    return struct.pack("<Q", size) + text + body
