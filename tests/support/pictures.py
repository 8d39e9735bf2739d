"""Pictures for tests of media, made by Pillow."""

from io import BytesIO
from typing import Any

from PIL import Image

Color = tuple[int, ...]

RED = (255, 0, 0)
BLUE = (0, 0, 255)


def given_picture(
    width: int, height: int, file_format: str = "PNG", color: Color = RED, **options: Any
) -> bytes:
    """A picture of one color; `options` are those of Pillow's `save`."""
    image = Image.new("RGB" if len(color) == 3 else "RGBA", (width, height), color)
    return saved(image, file_format, **options)


def given_halves(width: int, height: int, file_format: str = "JPEG", **options: Any) -> bytes:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return saved(image, file_format, **options)


def given_animation(width: int, height: int, frames: int, file_format: str = "GIF", **options: Any) -> bytes:
    """Frames of different colors, a tenth of a second each."""
    images = [
        Image.new("RGB", (width, height), (40 * number, 0, 255 - 40 * number)) for number in range(frames)
    ]
    return saved(
        images[0], file_format, save_all=True, append_images=images[1:], duration=100, loop=0, **options
    )


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    target = BytesIO()
    image.save(target, file_format, **options)
    return target.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))
