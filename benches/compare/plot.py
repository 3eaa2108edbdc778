"""Line charts as SVG: one panel above the other, a line per series, its name beside its end."""

from html import escape
from pathlib import Path

# Okabe and Ito's palette: told apart by colour-blind readers as well.
COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
WIDTH, PANEL_HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 120, 40, 45
# Names of series whose lines end closer than this would overlap.
LABEL_HEIGHT = 15


def write(path: Path, panels: list[tuple[str, dict[str, list[float | None]]]], x_label: str):
    """Writes panels of (title, {series: values at x = 1, 2, ...}); the first series is drawn thicker.

    Nothing is drawn where a value is None; the last value of a series is a number.
    """
    height = PANEL_HEIGHT * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (title, series) in enumerate(panels):
        parts += [f'<g transform="translate(0 {number * PANEL_HEIGHT})">', *_panel(title, series, x_label), "</g>"]
    path.write_text("\n".join(parts) + "\n</svg>\n")


def _panel(title: str, series: dict[str, list[float | None]], x_label: str) -> list[str]:
    count = max(len(values) for values in series.values())
    step = _round_step(max(value for values in series.values() for value in values if value is not None))
    top_value = step * 5
    bottom = PANEL_HEIGHT - BOTTOM

    def x(position):
        return LEFT + (position - 1) / max(1, count - 1) * (WIDTH - LEFT - RIGHT)

    def y(value):
        return bottom - value / top_value * (bottom - TOP)

    parts = [f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>']
    for line in range(6):
        at = y(line * step)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{line * step:g}</text>')
    for position in range(1, count + 1):
        if count <= 10 or position % 5 == 0 or position == 1:
            parts.append(f'<text x="{x(position):.1f}" y="{bottom + 18}" text-anchor="middle">{position}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 36}" text-anchor="middle">{escape(x_label)}</text>')
    label_at = _apart({name: y(values[-1]) for name, values in series.items()})
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        stroke_width = 1.5 if number else 3
        drawn = [(position, value) for position, value in enumerate(values, 1) if value is not None]
        points = " ".join(f"{x(position):.1f},{y(value):.1f}" for position, value in drawn)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{stroke_width}"/>')
        label_x, label_y = x(len(values)) + 8, label_at[name] + 4
        parts.append(f'<text x="{label_x:.1f}" y="{label_y:.1f}" fill="{colour}">{escape(name)}</text>')
    return parts


def _round_step(highest: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten of which five reach the highest value."""
    step = 1e-6
    while True:
        for factor in (1, 2, 2.5, 5):
            if step * factor * 5 >= highest:
                return step * factor
        step *= 10


def _apart(wanted: dict[str, float]) -> dict[str, float]:
    """Moves labels down until none overlaps the one above it."""
    placed, last = {}, float("-inf")
    for name, at in sorted(wanted.items(), key=lambda item: item[1]):
        last = placed[name] = max(at, last + LABEL_HEIGHT)
    return placed
