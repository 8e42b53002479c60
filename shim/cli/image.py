"""`shim image`: build the images of singularity-defs/, or list them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shim.errors import ShimError
from shim.image_build.recipe import ImageRecipe, load_recipe, recipe_names, source_directory

DESCRIPTION = """\
As root on a machine that runs a private cluster (shim cluster up), everything is done by
itself: the Debian root of each image is made with mmdebstrap, an ordinary user of the cluster
builds the SIF of it, and it appears as /shared/images/NAME.sif. Both steps are cached by content.

As an ordinary user give the Debian root: --sandbox DIR, a directory that belongs to you.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `image` and its subcommands."""
    parser = subparsers.add_parser("image", help="build the images of singularity-defs/")
    actions = parser.add_subparsers(dest="image_action", metavar="ACTION", required=True)

    build = actions.add_parser(
        "build",
        help="build images",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("names", nargs="+", metavar="NAME", help="see: shim image list")
    build.add_argument("--cluster", default="shim", metavar="NAME", help="the one to build in")
    build.add_argument("--output", type=Path, metavar="FILE", help="with --sandbox: the SIF")
    root = build.add_mutually_exclusive_group()
    root.add_argument("--sandbox", type=Path, metavar="DIR", help="a Debian root of yours")
    root.add_argument("--root-archive", type=Path, metavar="TAR", help="the same as a tar archive")
    _add_sources(build)

    _add_sources(actions.add_parser("list", help="list the images that can be built"))


def run(args: argparse.Namespace) -> int:
    """Carry out one `shim image` command."""
    sources = args.sources or source_directory()
    if args.image_action == "list":
        for name in recipe_names(sources):
            recipe = load_recipe(name, sources)
            print(f"{name:16} Debian {recipe.suite}: {', '.join(recipe.packages)}")
        return 0
    recipes = [load_recipe(name, sources) for name in args.names]
    if args.sandbox or args.root_archive:
        _build_here(recipes, args.sandbox, args.root_archive, args.output)
    else:
        _build_in_cluster(recipes, args.cluster)
    return 0


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sources", type=Path, metavar="DIR", help="where singularity-defs/ and examples/ are"
    )


def _build_here(
    recipes: list[ImageRecipe], sandbox: Path | None, archive: Path | None, output: Path | None
) -> None:
    from shim.image_build.sif import build_from_archive, build_sif

    if len(recipes) != 1:
        raise ShimError(
            "One Debian root serves one image, and several are asked for.",
            "Build them one after the other.",
        )
    recipe = recipes[0]
    target = (output or Path(f"{recipe.name}.sif")).absolute()
    if sandbox is not None:
        if not sandbox.is_dir():
            raise ShimError(f"{sandbox} is not a directory.", "Give a Debian root as --sandbox.")
        build_sif(recipe, sandbox.absolute(), target, _report(recipe.name))
    elif archive is not None:
        build_from_archive(recipe, archive.absolute(), target, _report(recipe.name))
    print(target)


def _report(name: str) -> Callable[[str], None]:
    def line(text: str) -> None:
        print(f"{name}: {text}", file=sys.stderr, flush=True)

    return line


def _build_in_cluster(recipes: list[ImageRecipe], cluster_name: str) -> None:
    if os.geteuid() != 0:
        raise ShimError(
            "Only root can make the Debian root that an image starts from.",
            "Use sudo, or give a Debian root that belongs to you: --sandbox DIR.",
        )
    # The testbed is imported only by the command that drives it; elsewhere it need not exist.
    from shim.image_build.prepare import ImageCache, ensure_image
    from testbed.cluster import Cluster
    from testbed.mirror import debian_mirror
    from testbed.paths import cache_directory
    from testbed.progress import plain, steps_for_stderr

    cache = ImageCache(cache_directory())
    try:
        node = Cluster.attach(cluster_name)
    except ShimError:
        # What is in the cache needs no cluster.
        if not all(cache.image(recipe).exists() for recipe in recipes):
            raise
        node = None
    # Making a root mostly waits for the archive and for dpkg: two at a time. A spinner has one
    # line for one step.
    steps = steps_for_stderr() if len(recipes) == 1 else plain
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [
            pool.submit(ensure_image, recipe, cache, node, debian_mirror, steps)
            for recipe in recipes
        ]
        for job in jobs:
            print(job.result())
