"""The container of one step on one node: checks, start, and each rank's way in.

`start_container` is in `start.py`, which needs asyncio: the head start does without.
"""

from shim.container.image import Image, ImageKind, check_image
from shim.container.order import Container, StartOrder
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
]
