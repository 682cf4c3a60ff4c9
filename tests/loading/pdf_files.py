"""PDF files written by hand: pages of lines at given places."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

_FONTS = {"F": "Helvetica", "B": "Helvetica-Bold"}


class At(NamedTuple):
    """A line of text, its place in points from the bottom left, and how it is painted."""

    x: float
    y: float
    text: str
    size: float = 10
    font: str = "F"
    paint: str = "0 g"


def pdf(*pages: Sequence[At | str], picture: str = "") -> bytes:
    """Return a PDF; a `str` among the lines is drawn as it is, `picture` is an image's name."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    fonts = " ".join(
        f"/{key} << /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding << /Type /Encoding "
        "/BaseEncoding /WinAnsiEncoding /Differences [1 /fi /hyphen] >> >>"
        for key, name in _FONTS.items()
    )
    image = f"/XObject << /{picture} 3 0 R >>" if picture else ""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        _stream(
            b"\x80\x10\x80\x10",
            "/Type /XObject /Subtype /Image /Width 2 /Height 2 /BitsPerComponent 8 "
            "/ColorSpace /DeviceGray ",
        ),
    ]
    for i, page in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * i} 0 R "
            f"/Resources << /Font << {fonts} >> {image} >> >>".encode()
        )
        objects.append(_stream("\n".join(map(_drawn, page)).encode("cp1252"), ""))
    out, offsets = b"%PDF-1.7\n", list[int]()
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size, start = len(objects) + 1, len(out)
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return out + f"{end}startxref\n{start}\n%%EOF\n".encode()


def column(x: float, y: float, *texts: str, size: float = 10, leading: float = 1.2) -> list[At]:
    """Return lines below one another."""
    return [At(x, y - i * leading * size, text, size) for i, text in enumerate(texts)]


def _drawn(item: At | str) -> str:
    if isinstance(item, str):
        return item
    text = item.text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return (
        f"{item.paint} BT /{item.font} {item.size} Tf 1 0 0 1 {item.x} {item.y} Tm ({text}) Tj ET"
    )


def _stream(data: bytes, entries: str) -> bytes:
    packed = zlib.compress(data)
    head = f"<< {entries}/Filter /FlateDecode /Length {len(packed)} >>\nstream\n"
    return head.encode() + packed + b"\nendstream"
