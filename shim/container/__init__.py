"""The container of one step on one node: checks, start, and each rank's way in."""

from shim.container.container import Container, StartOrder, start_container
from shim.container.image import Image, ImageKind, check_image
from shim.container.placement import Additions
from shim.container.runtime import Runtime, find_runtime

__all__ = [
    "Additions",
    "Container",
    "Image",
    "ImageKind",
    "Runtime",
    "StartOrder",
    "check_image",
    "find_runtime",
    "start_container",
]
