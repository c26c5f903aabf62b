"""Load and peer comparisons, as ratios: python -m bench [NAME...], or one NAME with options of its own."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import pkgutil
from pathlib import Path


def main() -> None:
    """Runs the benchmarks that are named, or all of them."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    found = {name: importlib.import_module(f"bench.{name}") for name in names if name != "__main__"}
    found = {name: module for name, module in found.items() if hasattr(module, "main")}
    about = "\n".join(
        f"  {name:20} {(module.__doc__ or '').splitlines()[0]}" for name, module in found.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=about,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("name", nargs="*", help="which to run; all without one")
    given, options = parser.parse_known_args()
    wanted = given.name or list(found)
    if unknown := [name for name in wanted if name not in found]:
        parser.error(f"no benchmark is called {', '.join(unknown)}")
    if options and not (len(wanted) == 1 and inspect.signature(found[wanted[0]].main).parameters):
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    for name in wanted:
        print(f"== {name}", flush=True)
        running = found[name].main(*([options] if options else []))
        if asyncio.iscoroutine(running):
            asyncio.run(running)


if __name__ == "__main__":
    main()
