"""Root's part of building an image: the cache, the Debian root, and the node that builds.

Root on the host makes the Debian root (it has the network and mmdebstrap); a node of the private
cluster, as an ordinary user, makes the SIF of it (it has the container runtime).
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shim.errors import ShimError
from shim.image_build.recipe import ImageRecipe
from shim.image_build.sif import last_line

Steps = Callable[[str], AbstractContextManager[None]]
"""Called with what is about to happen; the context lasts as long as it does."""


BUILD_SECONDS = 600.0
"""Longest time to make a SIF; a few seconds on an idle machine."""
KEPT = 3
"""So many contents of one image, and of its Debian root, stay in the cache."""


class BuildNode(Protocol):
    """What is needed of a running cluster: a shared directory, and commands run as a user."""

    @property
    def shared(self) -> Path:
        """The host's path of the directory that is /shared in the nodes."""

    def run(
        self, argv: Sequence[str], *, user: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the head node."""


@dataclass(frozen=True)
class ImageCache:
    """The host's cache: ``images/KEY.sif`` and, under them, ``roots/KEY.tar``."""

    directory: Path
    architecture: str = platform.machine()

    def image(self, recipe: ImageRecipe) -> Path:
        """Where the finished image of *recipe* is, or will be."""
        return self.directory / "images" / f"{recipe.key(self.architecture)}.sif"

    def root(self, recipe: ImageRecipe) -> Path:
        """Where the archive of its Debian root is, or will be."""
        return self.directory / "roots" / f"{recipe.root_key(self.architecture)}.tar"


def ensure_image(
    recipe: ImageRecipe,
    cache: ImageCache,
    node: BuildNode | None,
    mirror: Callable[[], str],
    steps: Steps,
) -> Path:
    """Return the cached image of *recipe*, built first if it is not there.

    With a *node* it is also put at ``/shared/images/NAME.sif`` of its cluster. Two callers do not
    build the same image twice: the second waits for the first.
    """
    image = cache.image(recipe)
    with _locked(image.with_name(f"{recipe.name}.lock")):
        if not image.exists():
            if node is None:
                raise ShimError(
                    f"The image {recipe.name} is not built, and no cluster is up to build it in.",
                    "Start one with: shim cluster up",
                )
            archive = _ensure_root(recipe, cache, mirror, steps)
            with steps(f"building {recipe.name}.sif as an ordinary user"):
                _build_in(node, recipe, archive, image)
            _forget_older(image, recipe)
    if node is not None:
        _offer(image, node.shared / "images" / f"{recipe.name}.sif")
    return image


def mmdebstrap_command(recipe: ImageRecipe, archive: Path, mirror: str) -> list[str]:
    """The command that makes the archive of the recipe's Debian root.

    In namespaces of its own, so that its processes and mounts end with it. The essential
    variant has no apt: nothing is ever installed into an image that is made of it.
    """
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        "mmdebstrap",
        "--mode=root",
        "--variant=essential",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.excluded),
        f"--include={','.join(recipe.packages)}",
        recipe.suite,
        str(archive),
        f"deb {mirror} {recipe.suite} main",
    ]


def _ensure_root(
    recipe: ImageRecipe, cache: ImageCache, mirror: Callable[[], str], steps: Steps
) -> Path:
    archive = cache.root(recipe)
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with steps(f"making the Debian root of {recipe.name} ({recipe.suite}, once)"):
            _make_root(recipe, archive, mirror())
        _forget_older(archive, recipe)
    return archive


def _make_root(recipe: ImageRecipe, archive: Path, mirror: str) -> None:
    if shutil.which("mmdebstrap") is None:
        raise ShimError(
            "The Debian root of an image is made by mmdebstrap, which is not installed.",
            "Run: apt-get install mmdebstrap",
        )
    # In a directory of its own, which the next builder empties should this one be killed.
    work = archive.with_suffix(".building")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    draft = work / "root.tar"
    try:
        result = subprocess.run(
            mmdebstrap_command(recipe, draft, mirror),
            env={**os.environ, "TMPDIR": str(work), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            errors = [line for line in result.stderr.splitlines() if line.startswith("E: ")]
            raise ShimError(
                f"The Debian root of {recipe.name} cannot be made: "
                f"{last_line((errors or [result.stderr])[0]).removeprefix('E: ')}.",
                "Check that apt-get update works here, then try again.",
            )
        draft.rename(archive)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _build_in(node: BuildNode, recipe: ImageRecipe, archive: Path, image: Path) -> None:
    """Have an ordinary user of the node build the SIF, and take it into the cache."""
    stage = node.shared / "images" / f".build-{recipe.name}"
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "out").mkdir(parents=True)
    (stage / "out").chmod(0o777)
    try:
        _stage_sources(recipe, stage)
        place_file(archive, stage / "root.tar")
        inside = Path("/shared/images", stage.name)
        command = [
            *("python3", "-m", "shim", "image", "build", recipe.name),
            *("--sources", str(inside)),
            *("--root-archive", str(inside / "root.tar")),
            *("--output", str(inside / "out" / "image.sif")),
        ]
        try:
            result = node.run(command, user="demo", timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ShimError(
                f"Building {recipe.name} in the cluster took longer than {BUILD_SECONDS:g} s.",
                "Try again when the machine is less busy.",
            ) from error
        if result.returncode != 0:
            raise ShimError(
                f"Building {recipe.name} in the cluster failed.",
                f"It said:\n{result.stderr.strip() or result.stdout.strip()}",
            )
        draft = image.with_suffix(".new")
        shutil.copyfile(stage / "out" / "image.sif", draft)
        # Root's and read-only: the cluster's users share one file with the cache.
        draft.chmod(0o555)
        draft.rename(image)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _stage_sources(recipe: ImageRecipe, stage: Path) -> None:
    definitions = stage / "singularity-defs"
    definitions.mkdir()
    for suffix in (".def", ".yaml"):
        shutil.copy(recipe.definition.with_suffix(suffix), definitions)
    for program in recipe.programs:
        target = stage / "examples" / program
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(recipe.examples / program, target)


def _offer(image: Path, target: Path) -> None:
    """Show *image* in the cluster as *target*, unless that is this very file already."""
    if target.exists() and target.stat().st_mtime_ns == image.stat().st_mtime_ns:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.new")
    place_file(image, draft)
    draft.rename(target)


def place_file(source: Path, target: Path) -> None:
    """Make *target* the same file as *source*: a hard link, or a copy on another file system."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _forget_older(kept: Path, recipe: ImageRecipe) -> None:
    """Remove all but the newest few contents of a recipe.

    Some stay, so that two source trees on one machine do not remove each other's.
    """
    digest_length = len(kept.stem) - len(recipe.name) - 1
    found = kept.parent.glob(f"{recipe.name}-{'?' * digest_length}{kept.suffix}")
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        path.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, dropped by the kernel should this process die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
