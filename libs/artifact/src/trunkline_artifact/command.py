"""The command line of a recipe: `python -m PACKAGE.train`."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(package: Path, about: str, examples: str, *, seed: int, recorded: str) -> argparse.ArgumentParser:
    """Takes `--data DIR`, `--out DIR` and `--seed N`.

    Args:
        package: directory of the recipe's package; what ships lies beside its sources, and is where it writes.
        about: what the command does.
        examples: what stands under its options.
        seed: the default.
        recorded: what DIR holds, such as `recorded ratings`.
    """
    made = argparse.ArgumentParser(
        f"python -m {package.name}.train",
        description=about,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--data", type=Path, metavar="DIR", help=f"measure the recipe on {recorded} too")
    made.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=package.parents[1] / "artifact",
        help="where to write (default: %(default)s)",
    )
    made.add_argument("--seed", type=int, default=seed, help="of simulation and training (%(default)s)")
    return made
