"""Building the images of singularity-defs/: a Debian root, then a SIF, both cached by content."""

from shim.image_build.prepare import BuildNode, ImageCache, ensure_image
from shim.image_build.recipe import ImageRecipe, load_recipe, recipe_names
from shim.image_build.sif import build_from_archive, build_sif

__all__ = [
    "BuildNode",
    "ImageCache",
    "ImageRecipe",
    "build_from_archive",
    "build_sif",
    "ensure_image",
    "load_recipe",
    "recipe_names",
]
