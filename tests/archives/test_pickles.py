"""Pickles are decoded without unpickling, and every tensor is compared with the member that holds it."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
import torch

from mltrack_plugin.archives.pickles import Instance, Tensor, read_pickle
from mltrack_plugin.archives.safezip import read_checked
from mltrack_plugin.errors import ModelError


def read(content: bytes, members: dict[str, bytes] | None = None) -> Any:
    return read_pickle(content, members or {}, "data", lambda name: True, "test.ckpt: data.pkl")


def saved(value: Any) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return dict(read_checked(buffer.getvalue(), "test").members)


def test_plain_values_come_back() -> None:
    value = {"a": [1, 2.5, "text", None, True], "b": ((), (1,), (1, 2, 3, 4)), "c": {"d": [2**40, -3]}}
    assert read(pickle.dumps(value, 2)) == value
    shared = [1, 2]
    assert read(pickle.dumps([shared, shared], 2)) == [shared, shared]
    long = list(range(5000))
    assert read(pickle.dumps(long, 2)) == long


def test_tensors_are_described() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    members = saved(
        {"view": whole[1:, ::2], "half": torch.zeros(3, dtype=torch.float16), "none": torch.zeros(0, 4)}
    )
    value = read(members["data.pkl"], members)
    assert isinstance(value["view"], Tensor)
    assert (value["view"].offset, value["view"].size, value["view"].stride) == (4, (2, 2), (4, 2))
    assert value["none"].size == (0, 4)


@pytest.mark.parametrize("wrong", [b"", b"\0" * 44, b"\0" * 47, b"\0" * 49, b"\0" * 4000])
def test_a_member_is_as_long_as_its_tensor(wrong: bytes) -> None:
    members = saved({"weight": torch.zeros(3, 4)})
    with pytest.raises(ModelError, match=rf"'data/0' has {len(wrong)} bytes, 48 are expected"):
        read(members["data.pkl"], members | {"data/0": wrong})
    del members["data/0"]
    with pytest.raises(ModelError, match="'data/0' is missing"):
        read(members["data.pkl"], members)


def test_a_tensor_lies_inside_its_member() -> None:
    members = saved({"weight": torch.zeros(3, 4)})
    larger = members["data.pkl"].replace(b"K\x03K\x04\x86", b"K\x03K\x05\x86")
    assert larger != members["data.pkl"]
    with pytest.raises(ModelError, match="reaches number 12 of member 'data/0', which has 12"):
        read(larger, members)
    strided = members["data.pkl"].replace(b"K\x04K\x01\x86", b"K\x05K\x01\x86")
    with pytest.raises(ModelError, match="reaches number 13"):
        read(strided, members)


def doubled(times: int) -> Any:
    """A small pickle of a value that is 2**times large when it is written out."""
    value: Any = (1, 2)
    for _ in range(times):
        value = (value, value)
    return value


def nested(times: int) -> Any:
    value: Any = [1]
    for _ in range(times):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(nested(200), 2), "nested more than 100 times"),
        (pickle.dumps(doubled(40), 2), "more than 2000000"),
        (b"\x80\x02]q\x00h\x00a.", "changes after its use|holds itself"),
        (b"\x80\x02]q\x00]q\x01(h\x00e h\x00h\x01a.", "damaged"),
        (b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u.", "repeated key"),
        (b"\x80\x02}q\x00()K\x01u.", "keys that are no plain values"),
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "a note with a number that is too large"),
        (b"\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f.", "more than 64 bits"),
        (b"\x80\x02K\x01K\x02.", "left over"),
        (b"\x80\x02K\x01.K\x02.", "left over"),
        (b"\x80\x02K\x01)R.", "no function"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02t.", "damaged"),
        (b"", "damaged"),
        (b"\x80\x04N.", None),
        (pickle.dumps(print, 4), "Python object"),
        (pickle.dumps({1, 2}, 4), "Python object"),
    ],
)
def test_pickles_of_nothing_good(content: bytes, message: str | None) -> None:
    if message is None:
        assert read(content) is None
        return
    with pytest.raises(ModelError, match=message) as error:
        read(content)
    assert str(error.value).startswith("test.ckpt: data.pkl")


def test_names_are_compared_with_a_list() -> None:
    content = pickle.dumps(print, 2)
    with pytest.raises(ModelError, match="names the Python object '__builtin__ print'"):
        read_pickle(content, {}, "data", {"torch Size"}.__contains__, "test")
    assert isinstance(read(pickle.dumps(complex(1, 2), 2)), Instance)
