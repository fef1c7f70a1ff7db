"""The directory of a zip file, read so strictly that every reader of zip files sees the same members.

A zip file lists its members at its end and again in front of each of them, and readers differ in which they believe,
in which end they find and in how they treat what lies between. Here all records must agree, and the members must
fill the file from its first byte to the directory, so that nothing is hidden and nothing overlaps.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

#: Largest number of members.
MAX_MEMBERS = 50_000
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
#: Flag bits: sizes follow the data; the name is UTF-8. Bits 1 and 2 tell how hard the packer tried.
_DESCRIPTOR, _UTF8, _ALLOWED_FLAGS = 0x8, 0x800, 0x80E
#: Stored and deflated.
_METHODS = (0, 8)
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA, _UNICODE_PATH_EXTRA = 1, 0x7075


@dataclass(frozen=True)
class Member:
    """One member of a zip file.

    Attributes:
        name: as listed, with its folder.
        deflated: whether the data are packed.
        crc: CRC-32 of the unpacked data.
        start: position of the packed data in the file.
        packed_size: their length in bytes.
        size: length of the unpacked data in bytes.
    """

    name: str
    deflated: bool
    crc: int
    start: int
    packed_size: int
    size: int


def read_directory(content: bytes) -> list[Member]:
    """All members of a zip file, in the order of the directory.

    Raises:
        ValueError: if two readers could see different members, or the file is damaged; with the reason.
    """
    start, stop, count = _end_records(content)
    if count > MAX_MEMBERS:
        raise ValueError(f"{count} members, more than the limit of {MAX_MEMBERS} for a model archive")
    members, spans = [], []
    position = start
    for _ in range(count):
        member, header, position = _central_entry(content, position, stop)
        member, end = _local_entry(content, header, member, start)
        members.append(member)
        spans.append((header, end, member.name))
    if position != stop:
        raise ValueError("its directory is longer than its number of members")
    expected = 0
    for begin, end, name in sorted(spans):
        if begin != expected:
            what = "overlaps another" if begin < expected else "follows data that no member owns"
            raise ValueError(f"member {name!r} {what}")
        expected = end
    if expected != start:
        raise ValueError("data that no member owns precede its directory")
    return members


def _unpack(
    record: struct.Struct, content: bytes, position: int, signature: bytes, what: str
) -> tuple[int, ...]:
    """The numbers of a record after its signature."""
    if position < 0 or position + record.size > len(content):
        raise ValueError(f"the {what} is cut off")
    found, *numbers = record.unpack_from(content, position)
    if found != signature:
        raise ValueError(f"the {what} is not where it should be")
    return tuple(numbers)


def _end_records(content: bytes) -> tuple[int, int, int]:
    """Where the directory starts and stops, and its number of members."""
    end = len(content) - _END.size
    disk, start_disk, here, count, size, start, comment = _unpack(
        _END, content, end, b"PK\5\6", "end of the directory"
    )
    if comment:
        raise ValueError("it has a comment, in which another directory can hide")
    if disk or start_disk or here != count:
        raise ValueError("it is one part of several")
    stop = end
    locator = end - _LOCATOR.size
    if content[max(locator, 0) : max(locator, 0) + 4] == b"PK\6\7":
        stop, wide = _end64(content, locator)
        for short, long, full in zip((count, size, start), wide, (_FULL16, _FULL32, _FULL32), strict=True):
            if short not in (full, long):
                raise ValueError("its two ends (zip and zip64) disagree")
        count, size, start = wide
    elif count == _FULL16 or _FULL32 in (size, start):
        raise ValueError("its zip64 end is missing")
    if start + size != stop:
        raise ValueError("its directory is not where its end says")
    return start, stop, count


def _end64(content: bytes, locator: int) -> tuple[int, tuple[int, int, int]]:
    """Position of the zip64 end; number of members, size and start of the directory."""
    disk, position, disks = _unpack(_LOCATOR, content, locator, b"PK\6\7", "zip64 locator")
    if position + _END64.size != locator:
        raise ValueError("its zip64 end is not where the locator says")
    record, _, _, here_disk, start_disk, here, count, size, start = _unpack(
        _END64, content, position, b"PK\6\6", "zip64 end of the directory"
    )
    if disk or disks != 1 or here_disk or start_disk or here != count or record + 12 != _END64.size:
        raise ValueError("its zip64 end is damaged")
    return position, (count, size, start)


def _central_entry(content: bytes, position: int, stop: int) -> tuple[Member, int, int]:
    """A member of the directory, the position of its local header, and that of the next entry."""
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment, disk, _, _, header = (
        _unpack(_CENTRAL, content, position, b"PK\1\2", "directory")
    )
    name_start = position + _CENTRAL.size
    extra_start = name_start + name_length
    following = extra_start + extra_length
    if following > stop:
        raise ValueError("its directory is cut off")
    name = _name(content[name_start:extra_start], flags)
    if flags & ~_ALLOWED_FLAGS or method not in _METHODS:
        raise ValueError(f"member {name!r} is encrypted or packed in an unusual way")
    if comment or disk:
        raise ValueError(f"member {name!r} has a comment or lies in another file")
    extra = _zip64_extra(content[extra_start:following], name)
    size, packed, header = _widened((size, packed, header), extra, name)
    return Member(name, method == 8, crc, flags, packed, size), header, following


def _local_entry(content: bytes, header: int, listed: Member, directory: int) -> tuple[Member, int]:
    """The member with the start of its data, and where it ends with all that belongs to it."""
    name, flags = listed.name, listed.start
    _, local_flags, method, _, _, crc, packed, size, name_length, extra_length = _unpack(
        _LOCAL, content, header, b"PK\3\4", f"header of member {name!r}"
    )
    name_start = header + _LOCAL.size
    extra_start = name_start + name_length
    start = extra_start + extra_length
    end = start + listed.packed_size
    if end > directory:
        raise ValueError(f"member {name!r} is cut off")
    disagrees = ValueError(f"member {name!r}: its header and the directory disagree")
    if local_flags != flags or method != (8 if listed.deflated else 0):
        raise disagrees
    if _name(content[name_start:extra_start], flags) != name:
        raise disagrees
    extra = _zip64_extra(content[extra_start:start], name)
    wanted = (listed.crc, listed.packed_size, listed.size)
    if flags & _DESCRIPTOR:
        # Sizes may stand in the header as well, or be left to the descriptor.
        for found, true in zip((crc, packed, size), wanted, strict=True):
            if found not in (0, true, _FULL32):
                raise disagrees
        end = _descriptor(content, end, wanted, name)
    else:
        size, packed, _ = _widened((size, packed, 0), extra, name)
        if (crc, packed, size) != wanted:
            raise disagrees
    return Member(name, listed.deflated, listed.crc, start, listed.packed_size, listed.size), end


def _descriptor(content: bytes, position: int, wanted: tuple[int, int, int], name: str) -> int:
    """The end of the record behind a member's data, which repeats checksum and sizes with 32 or 64 bits."""
    for signature in (b"PK\7\x08", b""):
        for form in ("<LQQ", "<LLL"):
            if struct.calcsize(form) == 12 and max(wanted) > _FULL32:
                continue
            record = signature + struct.pack(form, *wanted)
            if content.startswith(record, position):
                return position + len(record)
    raise ValueError(f"member {name!r}: the record behind its data and the directory disagree")


def _zip64_extra(extra: bytes, name: str) -> bytes | None:
    """The zip64 field of the extra fields, which must be well formed."""
    found = None
    position = 0
    while position < len(extra):
        if position + 4 > len(extra):
            raise ValueError(f"member {name!r}: its extra fields are damaged")
        kind, length = struct.unpack_from("<HH", extra, position)
        position += 4 + length
        if (
            position > len(extra)
            or kind == _UNICODE_PATH_EXTRA
            or (kind == _ZIP64_EXTRA and found is not None)
        ):
            raise ValueError(f"member {name!r}: its extra fields are damaged, repeated or hold another name")
        if kind == _ZIP64_EXTRA:
            found = extra[position - length : position]
    return found


def _widened(numbers: tuple[int, int, int], extra: bytes | None, name: str) -> tuple[int, int, int]:
    """Size, packed size and position with those that do not fit 32 bits taken from the zip64 field."""
    wide = [n for n in numbers if n == _FULL32]
    given = b"" if extra is None else extra
    if len(given) != 8 * len(wide):
        raise ValueError(f"member {name!r}: its zip64 field does not fit its sizes")
    values = iter(struct.unpack(f"<{len(wide)}Q", given))
    size, packed, position = (next(values) if n == _FULL32 else n for n in numbers)
    return size, packed, position


def _name(raw: bytes, flags: int) -> str:
    """Names beyond ASCII must say that they are UTF-8; readers guess otherwise."""
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise ValueError(f"member {raw!r} has a name of unknown encoding") from None
    if not name.isprintable():
        raise ValueError(f"member {name!r} has control characters in its name")
    return name
