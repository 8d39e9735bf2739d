"""The program that makes one thumbnail: picture on standard input, answer on standard output.

It runs in a process of its own, for three reasons. Pictures come from strangers, and their decoders are the likeliest
place for a fault: here one costs a process that holds nothing and may use little. Memory and processor time have hard
limits. And the server itself never imports Pillow, which would slow its start.

The one argument is JSON: width, height, method (`scale` or `crop`), animated, max_pixels. The answer is one line,
and in the first case the thumbnail after it: `made` and the content type; `original` and the content type (the picture
is its own thumbnail); `too_large`; `unknown` (no picture that can be read). Any other failure is told by the exit
status.

Run by path, alone: it can import nothing else of this server.
"""

import json
import resource
import struct
import sys
from typing import IO, Any

from PIL import Image, ImageSequence, UnidentifiedImageError

from synapse_like_config.lazy_dataclasses import dataclass

Size = tuple[int, int]

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}

CPU_LIMIT_S = 30
BASE_MEMORY_BYTES = 512 * 1024 * 1024
# Two copies with four channels, and room to shrink them.
BYTES_PER_PIXEL = 12
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
# How many times the allowed pixels of one picture may be decoded for all frames of an animation.
ANIMATION_FACTOR = 16
MAX_PROFILE_BYTES = 16 * 1024

ORIENTATION_TAG = 0x0112
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = frozenset((5, 6, 7, 8))

# What Pillow reads of a file that tells nothing about who made it, where and how.
HARMLESS_INFO = frozenset(
    (
        "adobe", "adobe_transform", "aspect", "background", "blend", "bbox", "chromaticity", "default_image",
        "disposal", "dpi", "duration", "extension", "gamma", "icc_profile", "interlace", "jfif", "jfif_density",
        "jfif_unit", "jfif_version", "loop", "num_plays", "progression", "progressive", "srgb", "timestamp",
        "transparency", "version",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    width: int
    height: int
    method: str
    animated: bool
    max_pixels: int


@dataclass(frozen=True)
class Plan:
    """Take the middle `region` of the picture and make it `size`."""

    region: Size
    size: Size


def make_plan(picture: Size, order: Order) -> Plan:
    """Sizes are of the picture as it is to be seen."""
    width, height = picture
    # When the content is smaller than the requested dimensions, return the original rather than thumbnail it.
    if width <= order.width and height <= order.height:
        return Plan(picture, picture)
    return _plan_crop(picture, order) if order.method == "crop" else _plan_scale(picture, order)


def _plan_scale(picture: Size, order: Order) -> Plan:
    width, height = picture
    # "scale" maintains the aspect ratio. Servers MUST NOT return a smaller thumbnail than requested, unless the
    # original makes that impossible, and MUST NOT upscale: the side that fits worse decides.
    factor = min(1.0, max(order.width / width, order.height / height))
    return Plan(picture, (max(round(width * factor), 1), max(round(height * factor), 1)))


def _plan_crop(picture: Size, order: Order) -> Plan:
    width, height = picture
    # "crop" provides an image in the aspect ratio of the sizes given in the request.
    if width * order.height > height * order.width:
        region = (max(round(height * order.width / order.height), 1), height)
    else:
        region = (width, max(round(width * order.height / order.width), 1))
    if region[0] <= order.width:
        return Plan(region, region)
    return Plan(region, (order.width, order.height))


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except (SyntaxError, ValueError, OSError, KeyError, IndexError, TypeError, struct.error):
        # Cameras write broken EXIF data; the picture beside it is whole.
        return 1
    return orientation if orientation in TRANSPOSITIONS else 1


def as_drawable(image: Image.Image) -> Image.Image:
    """In a mode that can be resized well: L, RGB or RGBA."""
    if image.mode.startswith("I"):
        # 16 bits of gray.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if "A" in image.getbands() or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def shrink(image: Image.Image, plan: Plan, whole: Size) -> Image.Image:
    """`whole` is the size for which the plan was made; the image may have been decoded smaller already."""
    width, height = plan.region
    left, top = (whole[0] - width) / 2, (whole[1] - height) / 2
    x, y = image.width / whole[0], image.height / whole[1]
    box = (left * x, top * y, (left + width) * x, (top + height) * y)
    drawable = as_drawable(image)
    if plan.size == drawable.size and plan.region == whole:
        return drawable
    return drawable.resize(plan.size, Image.Resampling.LANCZOS, box, reducing_gap=3.0)


def turned(plan: Plan) -> Plan:
    return Plan((plan.region[1], plan.region[0]), (plan.size[1], plan.size[0]))


def make_still(image: Image.Image, plan: Plan, orientation: int, target: IO[bytes]) -> str:
    """Writes the thumbnail without its answer line; the content type."""
    whole = image.size
    if orientation in ON_ITS_SIDE:
        plan = turned(plan)
    if image.format == "JPEG":
        # Decodes to a half, a quarter or an eighth where that is still large enough.
        width = whole[0] * plan.size[0] // plan.region[0]
        height = whole[1] * plan.size[1] // plan.region[1]
        image.draft(None, (width * 2, height * 2))
    small = shrink(image, plan, whole)
    if orientation != 1:
        small = small.transpose(TRANSPOSITIONS[orientation])
    if small.mode == "RGBA" and small.getchannel("A").getextrema() == (255, 255):
        small = small.convert("RGB")
    options: dict[str, Any] = {}
    profile = image.info.get("icc_profile")
    # A profile says how colors are meant; it does not fit what was converted from another color model.
    if (
        profile
        and len(profile) <= MAX_PROFILE_BYTES
        and image.mode in ("RGB", "RGBA", "P")
        and small.mode != "L"
    ):
        options["icc_profile"] = profile
    return save_still(small, options, target)


def save_still(small: Image.Image, options: dict[str, Any], target: IO[bytes]) -> str:
    # Nothing else of `info` may be written: it holds the metadata of the original.
    small.info = {}
    if small.mode == "RGBA":
        answer(target, "made", "image/png")
        small.save(target, "PNG", **options)
        return "image/png"
    answer(target, "made", "image/jpeg")
    small.save(target, "JPEG", quality=82, optimize=True, **options)
    return "image/jpeg"


def may_animate(image: Image.Image, plan: Plan, order: Order) -> bool:
    """Whether an animated thumbnail is asked for, possible, and small enough."""
    if not order.animated or not getattr(image, "is_animated", False):
        return False
    frames: int = getattr(image, "n_frames", 1)
    decoded = frames * image.width * image.height
    made = frames * plan.size[0] * plan.size[1]
    return decoded <= ANIMATION_FACTOR * order.max_pixels and made <= order.max_pixels


def make_animation(image: Image.Image, plan: Plan, target: IO[bytes]) -> None:
    frames: list[Image.Image] = []
    durations: list[int] = []
    # A GIF without the extension plays once; elsewhere 0, for ever, is the default.
    loop = int(image.info.get("loop", 1 if image.format == "GIF" else 0))
    for frame in ImageSequence.Iterator(image):
        small = shrink(frame.convert("RGBA"), plan, image.size)
        small.info = {}
        frames.append(small)
        durations.append(max(int(frame.info.get("duration", 100)), 0))
    # Servers SHOULD prefer to return image/webp thumbnails when supporting animation.
    answer(target, "made", "image/webp")
    frames[0].save(
        target,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=loop,
        quality=75,
        method=2,
    )


def is_own_thumbnail(image: Image.Image, plan: Plan, orientation: int, order: Order) -> bool:
    """Whether the file can be given as it is: right size, upright, no metadata, still unless it may move."""
    if plan.size != plan.region or plan.size != image.size or orientation != 1:
        return False
    if getattr(image, "is_animated", False) and not order.animated:
        return False
    # Some of the metadata stand behind the pixels.
    image.load()
    return HARMLESS_INFO.issuperset(image.info) and not getattr(image, "text", None)


def make_thumbnail(source: IO[bytes], order: Order, target: IO[bytes]) -> None:
    """Write the answer. Raises whatever Pillow raises for a picture that breaks off."""
    try:
        image = Image.open(source, formats=tuple(FORMATS))
    except UnidentifiedImageError:
        answer(target, "unknown")
        return
    with image:
        # The size stands in the header: nothing is decoded yet.
        if image.width * image.height > order.max_pixels:
            answer(target, "too_large")
            return
        orientation = read_orientation(image)
        upright = (image.height, image.width) if orientation in ON_ITS_SIDE else image.size
        plan = make_plan(upright, order)
        if is_own_thumbnail(image, plan, orientation, order):
            answer(target, "original", FORMATS[str(image.format)])
        elif orientation == 1 and may_animate(image, plan, order):
            make_animation(image, plan, target)
        else:
            make_still(image, plan, orientation, target)


def answer(target: IO[bytes], *words: str) -> None:
    target.write(" ".join(words).encode() + b"\n")


def limit_resources(max_pixels: int) -> None:
    memory = BASE_MEMORY_BYTES + BYTES_PER_PIXEL * max_pixels
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES))
    # No other programs, no more files than the two that are open.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    limit_resources(order.max_pixels)
    # The limit is ours, and smaller; Pillow's own would only warn.
    Image.MAX_IMAGE_PIXELS = None
    make_thumbnail(sys.stdin.buffer, order, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
