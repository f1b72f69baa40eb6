"""The protobuf messages of an episode, built without a compiler from the text below.

The text is the subset of proto3 that the small parser knows: messages of scalar, repeated and nested fields.
Foxglove's own schemas are used where one exists (see drawing.py); these are the rest.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numba import njit

PROTO = """
message ObjectReading {
  string name = 1;
  repeated double position = 2;
  repeated double quaternion = 3;
  double stamp = 4;
}
message PersonReading { string name = 1; repeated double keypoints = 2; double stamp = 3; }

message Observation {
  double time = 1;
  repeated double joint_position = 2;
  repeated double joint_velocity = 3;
  repeated double commanded_position = 4;
  repeated double commanded_velocity = 5;
  double finger_opening = 6;
  repeated ObjectReading objects = 7;
  repeated PersonReading people = 8;
  double contact_force = 9;
}

message Held { string name = 1; string kind = 2; repeated string labels = 3; repeated double hand_object = 4; }
message ObjectBelief {
  string name = 1;
  string kind = 2;
  repeated string labels = 3;
  repeated double position = 4;
  repeated double quaternion = 5;
  double stamp = 6;
}

message Belief {
  double time = 1;
  repeated double q = 2;
  repeated double dq = 3;
  repeated double q_ref = 4;
  repeated double dq_ref = 5;
  double opening = 6;
  Held held = 7;
  repeated ObjectBelief objects = 8;
  repeated PersonReading people = 9;
  double force = 10;
}

message Margin { string id = 1; double present = 2; double predicted = 3; }

message Named { string name = 1; double value = 2; }
message Foreseen { string id = 1; double value = 2; double bound = 3; double at = 4; double soon = 5; }

message Plan {
  string status = 1;
  repeated Named terms = 2;
  int32 iterations = 3;
  bool fresh = 4;
  repeated Foreseen margins = 5;
  repeated double path = 6;
}

message Verdict {
  repeated double action = 1;
  bool intervened = 2;
  string reason = 3;
  double margin = 4;
  string tightest = 5;
  double scale = 6;
  bool stopped = 7;
  repeated Named margins = 8;
}

message Contact { double time = 1; string link = 2; string other = 3; double distance = 4; double force = 5; }

message Truth {
  int32 samples = 1;
  repeated string objects = 2;
  repeated string people = 3;
  int32 keypoints_per_person = 4;
  bytes robot = 5;
  bytes things = 6;
  bytes persons = 7;
  repeated Contact contacts = 8;
}

message Status {
  double time = 1;
  string skill = 2;
  bool appraised = 3;
  string appraisal = 4;
  double success_probability = 5;
  int32 objective_done = 6;
  int32 objective_total = 7;
  repeated Margin margins = 8;
  double distance_to_people = 9;
  string message = 10;
  bool braked = 11;
  repeated Named judged = 12;
}

message Timing { double plan_ms = 1; double filter_ms = 2; }
"""

_PACKAGE = "robotctl"
_MESSAGE = re.compile(r"message (\w+) \{([^}]*)\}")
_FIELD = re.compile(r"(repeated )?(\w+) (\w+) = (\d+);")
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


def _parse(text: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="robotctl/episode.proto", package=_PACKAGE, syntax="proto3")
    for name, body in _MESSAGE.findall(text):
        message = file.message_type.add(name=name)
        for repeated, kind, field, number in _FIELD.findall(body):
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            entry = message.field.add(name=field, number=int(number), label=label)
            if kind in _SCALARS:
                entry.type = _SCALARS[kind]
            else:
                entry.type, entry.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    return file


_FILE = _parse(PROTO)
DESCRIPTOR_SET = descriptor_pb2.FileDescriptorSet(file=[_FILE]).SerializeToString(deterministic=True)
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_FILE)


def message_class(name: str) -> Any:
    """The protobuf class of a message of `PROTO`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def pack(array: np.ndarray) -> bytes:
    """An array (K, ...) as bytes, lossless and easy to compress.

    float64 bit patterns as integers, one column after the other; of each sample only how far it is from where the two
    before it lead (their bit patterns extrapolated, modulo 2^64), sign bit last; and then the first byte of every
    number, the second byte of every number, and so on.
    """
    array = np.ascontiguousarray(array, dtype="<f8")
    if array.size == 0:
        return b""
    return _packed(array.reshape(len(array), -1).view(np.int64)).tobytes()  # type: ignore[no-any-return]


@njit(cache=True)
def _packed(bits):
    samples, columns = bits.shape
    out = np.empty((8, columns, samples), np.uint8)
    for column in range(columns):
        one = two = np.int64(0)  # the sample before, and the one before that
        for k in range(samples):
            now = bits[k, column]
            led = one if k < 2 else 2 * one - two
            left = now - led
            left = (left << 1) ^ (left >> 63)
            for byte in range(8):
                out[byte, column, k] = (left >> (8 * byte)) & 255
            two, one = one, now
    return out


def unpack(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The array that `pack` was given."""
    count = int(np.prod(shape))
    if len(data) != 8 * count:
        raise ValueError(f"{len(data)} bytes for {count} numbers")
    if count == 0:
        return np.zeros(shape)
    left = np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(8, count).T).view("<u8").reshape(-1, shape[0])
    left = (left >> np.uint64(1)).view(np.int64) ^ -(left & np.uint64(1)).view(np.int64)
    bits = left.copy()
    if shape[0] > 1:
        bits[:, 1:] = left[:, :1] + np.cumsum(np.cumsum(left[:, 1:], axis=1), axis=1)
    return np.ascontiguousarray(bits.view("<f8").T).reshape(shape)
