"""What all collections share: typed columns, validation, conversion to and from plain arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError, MissingExtraError
from mltrack_plugin.reprs import counted, html_table, number, text_table

if TYPE_CHECKING:
    import awkward as ak

Array = npt.NDArray[Any]

#: Unit of each column that has one, in every collection; also of what is derived from columns.
UNITS = {
    **dict.fromkeys(("x", "y", "z", "r", "time", "vx", "vy", "vz", "z_error", "d0", "z0"), "mm"),
    **dict.fromkeys(("px", "py", "pz", "pt"), "GeV"),
    **dict.fromkeys(("phi", "theta"), "rad"),
    "q": "e",
    "qop": "e/GeV",
}


def column(
    name: str, values: npt.ArrayLike, dtype: npt.DTypeLike, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """A read-only column of the wanted type and shape (``None`` = any length).

    Ids are never taken from floating point numbers: 64-bit particle ids collapse there.

    Raises:
        EventDataError: naming the column, what was expected and what was given.
    """
    array = np.asarray(values)
    wanted = np.dtype(dtype)
    if wanted.kind in "iu" and array.size and array.dtype.kind not in "iub":
        raise EventDataError(f"column {name!r} must hold integers, got {array.dtype}")
    if wanted.kind == "f" and array.dtype.kind not in "fiub":
        raise EventDataError(f"column {name!r} must hold numbers, got {array.dtype}")
    if wanted.kind == "u" and array.dtype.kind == "i" and array.size and int(array.min()) < 0:
        raise EventDataError(f"column {name!r} must not be negative, smallest is {array.min()}")
    # The first comparison settles the usual case without a loop: this runs for every column of every event.
    if array.shape != shape and (
        len(array.shape) != len(shape)
        or any(want is not None and want != got for want, got in zip(shape, array.shape, strict=True))
    ):
        text = "(" + ", ".join("n" if s is None else str(s) for s in shape) + ")"
        raise EventDataError(f"column {name!r} must have shape {text}, got {array.shape}")
    if array.dtype != wanted and wanted.kind in "iu" and array.size:
        limits = np.iinfo(wanted)
        extremes = [int(array.min()), int(array.max())]
        if beyond := [value for value in extremes if not limits.min <= value <= limits.max]:
            raise EventDataError(f"column {name!r} holds {beyond[0]}, which {wanted} cannot hold")
    # A double beyond float32 becomes infinite and is refused as such where that matters.
    with np.errstate(over="ignore"):
        result = array.astype(wanted, copy=False)
    if result.flags.writeable:
        result = result.view()
        result.flags.writeable = False
    return result


def data_frame(columns: Mapping[str, Any]) -> Any:
    """A ``pandas.DataFrame`` of columns.

    Raises:
        MissingExtraError: without pandas, with the install line.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError(
            f"to_pandas needs pandas, which is not installed ({error}). Install it with:  pip install pandas"
        ) from error
    return pandas.DataFrame(dict(columns))


def _kind_of(values: Array) -> str:
    shape = "".join(f" x {n}" for n in values.shape[1:])
    return f"{'text' if values.dtype.kind == 'U' else values.dtype}{shape}"


def _range_of(values: Array) -> str:
    """Smallest and largest value, and how many are none."""
    if not values.size:
        return "empty"
    if values.dtype.kind == "U":
        return ", ".join(values.ravel().tolist())
    missing = int(np.count_nonzero(np.isnan(values))) if values.dtype.kind == "f" else 0
    if missing == values.size:
        return "all NaN"
    low, high = (number(limit(values).item()) for limit in (np.nanmin, np.nanmax))
    return (low if low == high else f"{low} to {high}") + (f", {missing} NaN" if missing else "")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Collection:
    """Base of all collections: frozen structs of NumPy arrays."""

    #: What one row is, and several are, in a ``repr``.
    row_names: ClassVar[tuple[str, str]] = ("row", "rows")

    def arrays(self) -> dict[str, Array]:
        """All columns that are present, by field name."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`arrays`."""
        return cls(**arrays)

    @classmethod
    def trusted(cls, arrays: Mapping[str, Array]) -> Self:
        """Construct without validation, for readers that have checked the columns of many events at once.

        Args:
            arrays: read-only columns of exactly the documented types; absent optional ones are ``None``.
        """
        self = object.__new__(cls)
        self.__dict__.update(arrays)
        return self

    def equals(self, other: object) -> bool:
        """Same type, same columns, same bytes (NaN equals NaN)."""
        if type(self) is not type(other) or not isinstance(other, Collection):
            return False
        mine, theirs = self.arrays(), other.arrays()
        return mine.keys() == theirs.keys() and all(
            np.array_equal(mine[k], theirs[k], equal_nan=getattr(mine[k], "dtype", np.dtype("O")).kind == "f")
            for k in mine
        )

    def __repr__(self) -> str:
        rows = self._described()
        return self._headline() + ("\n" + text_table(rows, indent="  ") if rows else "")

    def _repr_html_(self) -> str:
        return html_table(self._headline(), self._described(), ("column", "type", "unit", "range"))

    def _headline(self) -> str:
        """What it is and how much of it there is."""
        name = type(self).__name__
        return f"{name}: {counted(len(self), *self.row_names)}" if hasattr(self, "__len__") else name

    def _shown(self) -> dict[str, Array]:
        """The columns that a ``repr`` tells of."""
        return self.arrays()

    def _described(self) -> list[tuple[str, str, str, str]]:
        """Name, type, unit and range of each column."""
        return [
            (name, _kind_of(values), UNITS.get(name, ""), _range_of(values))
            for name, values in self._shown().items()
        ]

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _columns(self, n: int, **dtypes: npt.DTypeLike) -> None:
        """Validate one-dimensional columns of length ``n``; absent optional ones stay ``None``."""
        for name, dtype in dtypes.items():
            value = getattr(self, name)
            if value is not None:
                self._set(name, column(name, value, dtype, (n,)))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FlatCollection(Collection):
    """A collection with one row per object in every column."""

    #: `vector` behaviour of the awkward records, if they have one.
    awkward_name: ClassVar[str | None] = None

    def to_awkward(self) -> ak.Array:
        """Record array with the columns as fields, and the `vector` behaviours of ``awkward_name``."""
        import awkward as ak

        if self.awkward_name is not None:
            import vector

            vector.register_awkward()
        return ak.zip(self.arrays(), with_name=self.awkward_name)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with the columns.

        Raises:
            MissingExtraError: without pandas, with the install line.
        """
        return data_frame(self.arrays())

    @classmethod
    def from_awkward(cls, array: ak.Array) -> Self:
        """The inverse of :meth:`to_awkward`; fields that are no columns are left out."""
        import awkward as ak

        names = [f.name for f in dataclasses.fields(cls) if f.name in array.fields]
        return cls(**{name: ak.to_numpy(array[name]) for name in names})
