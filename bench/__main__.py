"""``python -m bench [calls|herd|looks|waiting|soak|watching|scale] [--quick]``; else the first three."""

import argparse

from bench import calls, herd, looks, scale, soak, waiting, watching


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what", nargs="?", help="only this",
        choices=("calls", "herd", "looks", "waiting", "soak", "watching", "scale"),
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="herd, scale: less of all")
    given = parser.parse_args()
    if given.what in (None, "calls"):
        calls.main()
    if given.what in (None, "herd"):
        herd.main(quick=given.quick)
    if given.what in (None, "looks"):
        looks.main()
    if given.what == "waiting":
        waiting.main()
    if given.what == "soak":
        soak.main()
    if given.what == "scale":
        scale.main(quick=given.quick)
    if given.what == "watching":
        watching.main()


if __name__ == "__main__":
    main()
