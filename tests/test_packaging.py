"""What the distribution contains and declares."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import mltrack_plugin

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_in_the_distribution():
    folders = {name: f"mltrack_plugin.{name}" for name in ("algorithms", "io", "configs")}
    folders |= {
        f: f"mltrack_plugin.{f.replace('/', '.')}" for f in ("algorithms/heptrkx", "configs/training")
    }
    found = set(folders.values())
    for init in (ROOT / "mltrack_plugin").rglob("__init__.py"):
        found.add(".".join(init.parent.relative_to(ROOT).parts))
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {"mltrack_plugin": "mltrack_plugin"} | {
        name: folder for folder, name in folders.items()
    }


def test_a_wheel_holds_every_configuration(monkeypatch):
    setuptools = pytest.importorskip("setuptools")
    monkeypatch.chdir(ROOT)
    distribution = setuptools.Distribution()
    distribution.parse_config_files()
    # What pyproject.toml names, and nothing that lies about.
    distribution.include_package_data = False
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    shipped = {f"{folder}/{name}" for _, folder, _, names in build.data_files for name in names}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    assert {"configs/generic/encemb.yaml", "configs/training/encemb-generic.yaml"} < files
    assert files <= shipped


def test_version_is_stated_once_everywhere():
    assert PROJECT["project"]["version"] == mltrack_plugin.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mltrack_plugin.__version__
    assert f"## {mltrack_plugin.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("group", ["algorithms", "readers", "writers"])
def test_every_entry_point_can_be_loaded(group):
    from mltrack_plugin.framework.algorithm import Algorithm, Reader, Writer

    base = {"algorithms": Algorithm, "readers": Reader, "writers": Writer}[group]
    points = importlib.metadata.entry_points(group=f"mltrack_plugin.{group}")
    mine = [point for point in points if point.value.startswith("mltrack_plugin.")]
    assert mine
    for point in mine:
        assert issubclass(point.load(), base)


def test_extras_that_errors_name_exist():
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"acts", "flash", "train", "plot", "distributed", "all", "dev"} <= set(extras)
    everything = " ".join(extras["all"])
    assert "flash" not in everything
    named = set()
    for folder in ("mltrack_plugin", "algorithms", "io"):
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(
                re.findall(r'require_extra\(\s*"[\w.]+",\s*"(\w+)"', path.read_text(encoding="utf-8"))
            )
    assert named
    assert named <= set(extras)


def test_required_packages_are_pinned_for_make():
    pins = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    required = {re.split(r"[<>=\[]", entry)[0].strip() for entry in PROJECT["project"]["dependencies"]}
    assert required <= pins


def test_public_names_can_be_imported():
    for name in mltrack_plugin.__all__:
        assert getattr(mltrack_plugin, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Sequenzer'"):
        _ = mltrack_plugin.Sequenzer
