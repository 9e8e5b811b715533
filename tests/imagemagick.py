"""ImageMagick itself, for the tests that compare with it; the published corrupted sets were made with it."""

import functools
import io
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image


@functools.cache
def program():
    """The command of an installed ImageMagick 6; skips the test where there is none."""
    for name in ("convert", "convert-im6.q16"):
        if path := shutil.which(name):
            said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
            if "ImageMagick 6" in said and "Q16" in said:
                return path
    return pytest.skip("needs ImageMagick 6 with 16 bits (apt install imagemagick)")


def motion_blur(image, radius, sigma, angle):
    """(h, w) or (h, w, 3) uint8, blurred the way the published scripts have it done: PNG in, PNG out."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    command = [program(), "png:-", "-motion-blur", f"{radius}x{sigma}{angle:+.15g}", "png:-"]
    done = subprocess.run(command, input=buffer.getvalue(), capture_output=True, check=True)
    with Image.open(io.BytesIO(done.stdout)) as blurred:
        return np.asarray(blurred.convert("RGB" if image.ndim == 3 else "L"))
