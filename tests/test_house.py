"""The plan of the house: imports run one way, the maps name every room, files stay short, tests mirror the tree."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import mltrack_plugin

ROOT = Path(__file__).parent.parent
#: Folders of the checkout that are parts of the package.
SOURCES = {"mltrack_plugin": "", "algorithms": "algorithms", "io": "io", "configs": "configs"}
#: Rooms from the top floor to the ground. Imports go down, or stay in the room; rooms of one floor do not see each
#: other. A path names all that is below it, unless a longer one does; "*" are the files in no folder.
FLOORS = (
    ("__init__", "__main__"),
    ("cli",),
    ("published/trackformers", "published/heptrkx/benchmark"),
    ("algorithms/heptrkx",),
    ("published",),
    ("training", "acts/reference", "acts/sequence", "acts/track_finding"),
    ("jobs",),
    ("algorithms",),
    ("acts", "simulation"),
    ("io",),
    ("evaluation", "archives", "repair", "refiner"),
    ("framework", "models", "following"),
    ("kalman", "mixture"),
    ("helix", "clustering"),
    ("detectors",),
    ("event_data",),
    ("configs", "pretrained"),
    ("*",),
)
LONGEST = 400


def files() -> dict[str, Path]:
    """Name below the package, like "io/storage" -> file."""
    found = {}
    for folder, inside in SOURCES.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found["/".join((*filter(None, [inside]), *parts))] = path
    return found


FILES = files()
#: Name of a module below the package -> file.
MODULES = {name.removesuffix("__init__").rstrip("/"): path for name, path in FILES.items()}


def imported(name: str) -> set[str]:
    """Files that a file imports: also inside functions and for type checking only."""
    package = ["mltrack_plugin", *name.split("/")[:-1]]
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join((*base, *filter(None, [node.module])))
            modules = [f"{origin}.{alias.name}" for alias in node.names]
        found |= {file for module in modules if (file := file_of(module)) is not None}
    return found - {name}


def file_of(module: str) -> str | None:
    """The file of a module, or the one that holds the last part; ``None`` outside this package."""
    head, *parts = module.split(".")
    if head != "mltrack_plugin":
        return None
    for path in ("/".join(parts), "/".join(parts[:-1])):
        for file in (path, f"{path}/__init__".lstrip("/")):
            if file in FILES:
                return file
    raise AssertionError(f"{module} is no module and in none")


IMPORTS = {name: imported(name) for name in FILES}


def room_of(name: str) -> str:
    """The longest path of FLOORS that holds a file."""
    path = name.removesuffix("/__init__")
    holding = [room for floor in FLOORS for room in floor if path == room or path.startswith(f"{room}/")]
    assert holding or "/" not in name, f"{name} is on no floor"
    return max(holding or ["*"], key=len)


def rooms() -> set[str]:
    """Folders of the package."""
    return {name.split("/")[0] for name in FILES if "/" in name}


def test_imports_run_one_way():
    depth = {room: k for k, floor in enumerate(FLOORS) for room in floor}

    def allowed(name: str, other: str) -> bool:
        above, below = depth[room_of(name)], depth[room_of(other)]
        rooms = {path.split("/")[0] if "/" in path else "*" for path in (name, other)}
        return above < below or (above == below and len(rooms) == 1)

    pairs = {(name, other) for name, others in IMPORTS.items() for other in others}
    assert not {pair for pair in pairs if not allowed(*pair)}


def test_no_files_import_each_other_in_a_circle():
    reach: dict[str, set[str]] = {}
    for name in FILES:
        seen, todo = set(), [name]
        while todo:
            new = IMPORTS[todo.pop()] - seen
            seen |= new
            todo += new
        reach[name] = seen
    circles = {
        frozenset(other for other in reach[name] if name in reach[other])
        for name in FILES
        if name in reach[name]
    }
    assert not circles


def test_every_floor_holds_files():
    assert {room for floor in FLOORS for room in floor} == {room_of(name) for name in FILES}


def test_the_docstring_of_the_package_names_every_room():
    named = re.findall(r":mod:`~mltrack_plugin\.(\w+)`", mltrack_plugin.__doc__ or "")
    assert len(named) == len(set(named))
    assert set(named) == rooms()


def test_the_map_for_contributors_names_every_room_from_the_top_floor_down():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("## The map of the house")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(?:mltrack_plugin/)?(\w+)/` \|", table, re.MULTILINE)
    named = [row for row in rows if row not in ("tests", "benchmarks", "docs", "examples")]
    assert len(named) == len(set(named))
    assert set(named) == rooms()
    order = [k for room in named for k, floor in enumerate(FLOORS) if room in floor]
    assert order == sorted(order)


@pytest.mark.parametrize("folder", [*SOURCES, "tests"])
def test_files_stay_short(folder):
    for path in (ROOT / folder).rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= LONGEST, f"{path.relative_to(ROOT)} has {lines} lines"


def test_tests_mirror_the_tree():
    folders = {parent.as_posix() for name in FILES for parent in Path(name).parents} - {"."}
    for path in (ROOT / "tests").rglob("test_*.py"):
        inside = path.parent.relative_to(ROOT / "tests").as_posix()
        assert inside == "." or inside in folders, f"tests/{inside} is no room"


def test_modules_and_their_parts_that_texts_name_exist():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    # What is registered is an attribute of its room, wherever it is.
    registered = {entry.split(":")[-1] for group in groups.values() for entry in group.values()}
    texts = [*FILES.values(), *(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for path in texts:
        for name in (
            set(re.findall(r"mltrack_plugin(?:\.\w+)+", path.read_text(encoding="utf-8"))) - groups.keys()
        ):
            parts = name.split(".")
            length = next(k for k in range(len(parts), 0, -1) if "/".join(parts[1:k]) in MODULES)
            source = MODULES["/".join(parts[1:length])].read_text(encoding="utf-8")
            unknown = {part for part in parts[length:] if not re.search(rf"\b{part}\b", source)} - registered
            assert not unknown, f"{path.relative_to(ROOT)} names {name}, which does not exist"
