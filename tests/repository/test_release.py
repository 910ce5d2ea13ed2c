"""What a release says of itself is said in several places, and the same in each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import minigan

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = (ROOT / ".github" / "CITATION.cff").read_text(encoding="utf-8")


def cited(key: str) -> str:
    found = re.search(rf'^{key}: "?([^"\n]+)', CITATION, re.MULTILINE)
    assert found, f"CITATION.cff has no {key}"
    return found[1]


def test_the_version_is_the_same_everywhere() -> None:
    assert minigan.__version__ == PROJECT["version"] == cited("version")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (\S+)", changes, re.MULTILINE)
    assert heads[0] == "Unreleased" or heads[0].strip("[]") == minigan.__version__


def test_the_licence_is_the_same_everywhere() -> None:
    assert PROJECT["license"] == cited("license")
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_the_address_is_the_same_everywhere_and_nowhere_until_there_is_one() -> None:
    address = PROJECT.get("urls", {}).get("Homepage")
    for file in ("pyproject.toml", ".github/CITATION.cff", ".github/SECURITY.md"):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert set(re.findall(r"https://[^\s\"/]+/[\w-]+/[\w-]+", text)) == (
            {address} if address else set()
        ), file
    if address:
        assert cited("url") == cited("repository-code") == address
        assert all(link.startswith(address) for link in PROJECT["urls"].values())


def test_the_oldest_python_is_the_first_that_is_classified() -> None:
    versions = [
        name.rpartition(" ")[2]
        for name in PROJECT["classifiers"]
        if re.search(r"Python :: 3\.\d+$", name)
    ]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    minors = [int(version.partition(".")[2]) for version in versions]
    assert minors == list(range(minors[0], minors[0] + len(minors)))


def test_what_is_needed_has_a_lower_bound() -> None:
    """The bounds that were tried: .github/CONTRIBUTING.md, "Release"."""
    assert all(">=" in needed for needed in PROJECT["dependencies"])
    tried = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = [
        needed
        for needed in PROJECT["dependencies"]
        if needed.replace(">=", " ") not in tried.replace("`", "")
    ]
    assert not missing, "say in CONTRIBUTING.md that these bounds were tried"
