"""What a pickle of tensors holds, read without unpickling: no class is imported, nothing is called.

``torch.save`` and TorchScript write the structure of a network as a pickle and each tensor's numbers as a member of
their own. Torch's readers trust what the pickle says about these members: with a length that is too large they read
beyond the member, with strides that are too large beyond the tensor. Here the pickle is decoded into plain values,
and every tensor is compared with the member that holds its numbers.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mltrack_plugin.errors import ModelError

#: Bytes per number of each type of storage.
ITEM_SIZES = {
    "torch ComplexDoubleStorage": 16,
    "torch ComplexFloatStorage": 8,
    "torch DoubleStorage": 8,
    "torch FloatStorage": 4,
    "torch HalfStorage": 2,
    "torch BFloat16Storage": 2,
    "torch LongStorage": 8,
    "torch IntStorage": 4,
    "torch ShortStorage": 2,
    "torch CharStorage": 1,
    "torch ByteStorage": 1,
    "torch BoolStorage": 1,
}
#: Largest number of instructions, of values with each counted where it is used, of levels of nesting, of dimensions.
MAX_OPCODES = 2_000_000
MAX_VALUES = 2_000_000
MAX_DEPTH = 100
_MAX_DIMENSIONS = 64
_TENSOR = "torch._utils _rebuild_tensor_v2"


@dataclass(frozen=True)
class Global:
    """The name of a class or function; never looked up."""

    name: str


@dataclass(frozen=True)
class Storage:
    """The numbers of one or more tensors: type, member, and how many there are."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class Tensor:
    """A tensor as described by the pickle; all sizes are in numbers, not in bytes."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class Instance:
    """The result of calling ``callable`` with ``arguments``, or an object of that class, and its state."""

    callable: Global
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass
class _Reader:
    """The machine that a pickle drives. Values are plain; containers are noted with how deep and large they are."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    depths: dict[int, int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    #: Containers that are part of another one: they must not change any more, so nothing can hold itself.
    closed: set[int] = field(default_factory=set)
    #: All containers, kept so that an identity is never used twice.
    alive: list[Any] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise ValueError("a value is missing")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def push(self, value: Any, parts: Any = ()) -> None:
        """Push a value that holds ``parts``."""
        self.stack.append(value)
        # The empty tuple is one object, wherever it stands.
        if isinstance(value, (tuple, list, dict, Instance)) and value != ():
            self.alive.append(value)
            self.depths[id(value)] = self.sizes[id(value)] = 1
            self.add(value, parts)

    def add(self, container: Any, parts: Any) -> None:
        """Note that ``container`` holds ``parts``."""
        if id(container) in self.closed:
            raise ValueError("a value changes after its use")
        deepest, size = self.depths[id(container)], self.sizes[id(container)]
        for part in parts:
            size += self.sizes.get(id(part), 1)
            if id(part) in self.depths:
                self.closed.add(id(part))
                deepest = max(deepest, self.depths[id(part)] + 1)
        if id(container) in self.closed:
            raise ValueError("a value holds itself")
        if deepest > MAX_DEPTH or size > MAX_VALUES:
            raise ValueError(f"values are nested more than {MAX_DEPTH} times, or more than {MAX_VALUES}")
        self.depths[id(container)], self.sizes[id(container)] = deepest, size

    def tuple_of(self, n: int) -> None:
        values = [self.pop() for _ in range(n)][::-1]
        self.push(tuple(values), values)

    def append(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("a list is expected")
        self.add(self.stack[-1], values)
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        items = target.state if isinstance(target, Instance) else target
        if (
            isinstance(target, Instance)
            and items is None
            and target.callable.name == "collections OrderedDict"
        ):
            items = target.state = {}
        if not isinstance(items, dict) or len(values) % 2:
            raise ValueError("a mapping is expected")
        if any(type(key) not in (str, int, float, bool, type(None)) for key in values[::2]):
            raise ValueError("a mapping with keys that are no plain values")
        self.add(target, values)
        before = len(items)
        items.update(zip(values[::2], values[1::2], strict=True))
        if len(items) != before + len(values) // 2:
            raise ValueError("a mapping with a repeated key")

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no function")
        if function.name == _TENSOR:
            tensor = _tensor(arguments)
            self.tensors.append(tensor)
            self.stack.append(tensor)
        else:
            self.push(Instance(function, arguments), [arguments])

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Instance) and target.callable.name == "collections OrderedDict":
            # Attributes of a mapping, e.g. the versions of a state_dict.
            return
        if not isinstance(target, Instance) or target.state is not None:
            raise ValueError("a state without an object")
        self.add(target, [state])
        target.state = state

    def persistent(self) -> None:
        match self.pop():
            case ("storage", Global(kind), str(key), str(), int(count)) if kind in ITEM_SIZES and count >= 0:
                self.stack.append(Storage(kind, key, count))
            case _:
                raise ValueError("a reference to something that is no storage of numbers")

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])


def _constant(value: Any) -> Callable[[_Reader, Any], None]:
    return lambda reader, argument: reader.stack.append(value)


def _argument(reader: _Reader, argument: Any) -> None:
    if isinstance(argument, int) and not -(2**63) <= argument < 2**63:
        raise ValueError("an integer of more than 64 bits")
    reader.stack.append(argument)


def _memoize(reader: _Reader, argument: Any) -> None:
    # Torch makes room for all smaller numbers.
    if argument > len(reader.memo):
        raise ValueError("a note with a number that is too large")
    reader.memo[argument] = reader.stack[-1]


def _mark(reader: _Reader, argument: Any) -> None:
    reader.marks.append(len(reader.stack))


def _tuple(reader: _Reader, argument: Any) -> None:
    values = reader.pop_to_mark()
    reader.push(tuple(values), values)


_OPCODES: dict[str, Callable[[_Reader, Any], None]] = {
    "PROTO": lambda reader, argument: None,
    "MARK": _mark,
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _argument),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING"), _argument),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _memoize),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda reader, argument: reader.recall(argument)),
    "EMPTY_TUPLE": lambda reader, argument: reader.push(()),
    "EMPTY_LIST": lambda reader, argument: reader.push([]),
    "EMPTY_DICT": lambda reader, argument: reader.push({}),
    "TUPLE": _tuple,
    "TUPLE1": lambda reader, argument: reader.tuple_of(1),
    "TUPLE2": lambda reader, argument: reader.tuple_of(2),
    "TUPLE3": lambda reader, argument: reader.tuple_of(3),
    "APPEND": lambda reader, argument: reader.append([reader.pop()]),
    "APPENDS": lambda reader, argument: reader.append(reader.pop_to_mark()),
    "SETITEM": lambda reader, argument: reader.set_items([reader.pop(), reader.pop()][::-1]),
    "SETITEMS": lambda reader, argument: reader.set_items(reader.pop_to_mark()),
    "GLOBAL": lambda reader, argument: reader.stack.append(Global(argument)),
    "REDUCE": lambda reader, argument: reader.reduce(),
    "NEWOBJ": lambda reader, argument: reader.reduce(),
    "BUILD": lambda reader, argument: reader.build(),
    "BINPERSID": lambda reader, argument: reader.persistent(),
    "STOP": lambda reader, argument: None,
}


def read_pickle(
    content: bytes, members: Mapping[str, bytes], folder: str, allowed: Callable[[str], bool], where: str
) -> Any:
    """The value of a pickle, with :class:`Tensor` and :class:`Instance` in the place of objects.

    Args:
        content: the pickle.
        members: of the archive; those that hold the tensors' numbers are compared with what the pickle says.
        folder: where these members lie in the archive.
        allowed: whether a class or function ("module name") may be named.
        where: file and member, for messages.

    Raises:
        ModelError: if the pickle is damaged, is nested too deep, names or does anything that is not allowed, or
            describes tensors that the members do not hold.
    """
    reader = _Reader()
    used = 0
    try:
        for number, (opcode, argument, position) in enumerate(pickletools.genops(content)):
            used = position or 0
            name = opcode.name
            if name not in _OPCODES:
                raise ModelError(f"{where} holds a Python object ({name}); the file is not opened")
            if name == "GLOBAL" and not allowed(text := str(argument)):
                raise ModelError(f"{where} names the Python object {text[:200]!r}; the file is not opened")
            if number > MAX_OPCODES:
                raise ValueError(f"more than {MAX_OPCODES} instructions")
            _OPCODES[name](reader, argument)
        if len(reader.stack) != 1 or reader.marks or used + 1 != len(content):
            raise ValueError("values are left over")
        for tensor in reader.tensors:
            _check_tensor(tensor, members, folder)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise ModelError(f"{where} is damaged ({error}). Download or export the model again") from None
    return reader.stack[0]


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride = arguments[:4]
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError("a tensor without a storage, or with sizes that are no numbers")
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise ValueError("a tensor whose sizes and strides do not fit")
    return Tensor(storage, offset, tuple(size), tuple(stride))


def _check_tensor(tensor: Tensor, members: Mapping[str, bytes], folder: str) -> None:
    """The member has exactly the storage's numbers, and the tensor lies inside the storage."""
    storage = tensor.storage
    member = f"{folder}/{storage.key}"
    if member not in members:
        raise ValueError(f"member {member!r} is missing")
    check_inside(
        len(members[member]),
        ITEM_SIZES[storage.kind],
        storage.count,
        tensor.offset,
        tensor.size,
        tensor.stride,
        member,
    )


def check_inside(
    n_bytes: int,
    item_size: int,
    count: int,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    member: str,
) -> None:
    """Refuse a tensor that its member does not hold.

    Args:
        n_bytes: length of the member.
        item_size: bytes per number.
        count: numbers that the member should have.
        offset, size, stride: of the tensor in the member, in numbers.
        member: its name, for the message.

    Raises:
        ValueError: with what was expected.
    """
    if n_bytes != count * item_size:
        raise ValueError(f"member {member!r} has {n_bytes} bytes, {count * item_size} are expected")
    if 0 in size:
        return
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= count:
        raise ValueError(f"a tensor reaches number {last} of member {member!r}, which has {count}")
