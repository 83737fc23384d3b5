"""Small curves as SVG inside a page: no script, no library, and no style beside that of the style sheet."""

from __future__ import annotations

from collections.abc import Sequence

from minijinja import Markup

_WIDTH, _HEIGHT = 120, 24
"""The size in units of the picture; the style sheet says how large it is shown."""


def sparkline(numbers: Sequence[float]) -> str:
    """Return a curve of some numbers, the oldest first, as an `svg` element. The numbers themselves stand beside it as text.

    The curve begins at the bottom: 0 is 0 in each of them, so that two curves of one page can be compared in their shape.
    """
    if len(numbers) < 2:
        return Markup("")
    top = max(*numbers, 1.0)
    step = _WIDTH / (len(numbers) - 1)
    points = [(at * step, _HEIGHT - 1 - number / top * (_HEIGHT - 2)) for at, number in enumerate(numbers)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup(
        f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<polygon points="0,{_HEIGHT} {line} {_WIDTH},{_HEIGHT}"/><polyline points="{line}"/></svg>'
    )
