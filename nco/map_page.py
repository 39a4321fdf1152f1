"""Routes of stops as one HTML page that needs no network: a drawing to pan and zoom, and tables.

The drawing is SVG and is there without scripts; a script moves it. Lines keep their width, dots
and labels their size, at any scale.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import matplotlib.colors
import numpy as np
from jaxtyping import Float

from nco.data.geography import to_metres
from nco.data.plot import colour_of, title
from nco.data.solution import Solution

Features = list[dict[str, Any]]

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 14px sans-serif; margin: 0; display: flex; height: 100vh; }}
#frame {{ flex: 1; min-width: 0; position: relative; }}
#map {{ display: block; width: 100%; height: 100%; background: #f4f4f0; cursor: grab;
  touch-action: none; }}
#scale {{ position: absolute; left: 1em; bottom: 1em; text-align: center; font-size: 12px;
  background: #f4f4f0c0; }}
#scale.bar {{ border: solid #333; border-width: 0 2px 2px; }}
#side {{ width: 25em; overflow: auto; padding: 0 1em; border-left: 1px solid #ccc; }}
@media (max-width: 60em) {{
  body {{ flex-direction: column; }} #frame {{ flex: none; height: 60vh; }}
  #side {{ width: auto; border: none; }}
}}
h1 {{ font-size: 1.3em; }} table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: right; padding: 0.1em 0.3em; }}
td:nth-child(2), th:nth-child(2) {{ text-align: left; }}
summary {{ margin-top: 0.8em; cursor: pointer; }} summary input {{ vertical-align: middle; }}
.bad {{ color: #b00; }} .small {{ color: #555; font-size: 0.9em; }}
details .small {{ margin: 0.2em 0 0.2em 1.9em; }}
.swatch {{ display: inline-block; width: 1.6em; height: 0.5em; margin: 0 0.4em;
  vertical-align: middle; }}
svg path {{ fill: none; vector-effect: non-scaling-stroke; stroke-linejoin: round; }}
svg text {{ text-anchor: middle; dominant-baseline: central; pointer-events: none;
  font-size: calc(var(--unit) * 10px); font-weight: bold; }}
.line {{ transform: translate(calc(var(--unit) * var(--shift) * 1px),
  calc(var(--unit) * var(--shift) * 1px)); }}
.line > path {{ stroke-width: 3; }}
.line > .arrow {{ stroke: #fff; stroke-width: 1; }}
.off {{ display: none; }}
</style></head>
<body>
<div id="frame">
<svg id="map" viewBox="{box}" preserveAspectRatio="xMidYMid meet" style="--unit: {unit}">
{drawing}
</svg>
<div id="scale">{scale}</div>
</div>
<div id="side">
<h1>{name}</h1>
<p>{summary}</p>
{violations}
{tables}
<p class="small">Drag to move, wheel to zoom, double click for all. {credit}</p>
</div>
<script>
const map = document.getElementById("map"), whole = map.getAttribute("viewBox");
let box = whole.split(" ").map(Number), held = null;
const bar = document.getElementById("scale");
function unit() {{ return Math.max(box[2] / map.clientWidth, box[3] / map.clientHeight); }}
function show() {{
  map.setAttribute("viewBox", box.join(" "));
  map.style.setProperty("--unit", unit());
  const most = 150 * unit(), ten = 10 ** Math.floor(Math.log10(most));
  const metres = ten * [5, 2, 1].find(times => times * ten <= most);
  bar.className = "bar";
  bar.style.width = metres / unit() + "px";
  bar.textContent = metres < 1000 ? metres + " m" : metres / 1000 + " km";
}}
function place(event) {{
  const at = new DOMPoint(event.clientX, event.clientY);
  return at.matrixTransform(map.getScreenCTM().inverse());
}}
map.addEventListener("wheel", event => {{
  event.preventDefault();
  const at = place(event), by = Math.exp(event.deltaY / 500);
  box = [at.x + (box[0] - at.x) * by, at.y + (box[1] - at.y) * by, box[2] * by, box[3] * by];
  show();
}}, {{ passive: false }});
map.addEventListener("pointerdown", event => {{
  held = place(event); map.setPointerCapture(event.pointerId);
}});
map.addEventListener("pointermove", event => {{
  if (held === null) return;
  const at = place(event);
  box[0] += held.x - at.x; box[1] += held.y - at.y; show();
}});
map.addEventListener("pointerup", () => {{ held = null; }});
map.addEventListener("dblclick", () => {{ box = whole.split(" ").map(Number); show(); }});
window.addEventListener("resize", show);
for (const tick of document.querySelectorAll("input[data-route]"))
  tick.addEventListener("change", () => {{
    for (const part of document.querySelectorAll(`g[data-route="${{tick.dataset.route}}"]`))
      part.classList.toggle("off", !tick.checked);
  }});
show();
</script>
</body>
</html>
"""


def clock(seconds: float) -> str:
    """As H:MM:SS; hours go on after 24."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def page(name: str, solution: Solution, features: dict[str, Any]) -> str:
    """The page of a solution.

    Args:
        name: the heading.
        features: what `nco.map_features.solution_features` gives.
    """
    lines, points = _split(features["features"])
    places = np.concatenate([np.atleast_2d(f["geometry"]["coordinates"]) for f in lines + points])
    middle = (places.min(0) + places.max(0)) / 2
    reach = np.abs(to_metres(places, middle)).max(0)
    margin = 0.05 * float(reach.max()) + 10
    width, height = (2 * (float(side) + margin) for side in reach)
    # stops above lines, depots above stops
    layers = [
        *(_line(feature, middle, _shift(i, len(lines))) for i, feature in enumerate(lines)),
        *(_dot(f, middle) for f in points if f["properties"]["kind"] == "stop"),
        *(_dot(f, middle) for f in points if f["properties"]["kind"] == "depot"),
    ]
    broken = "".join(f"<li>{html.escape(line)}</li>" for line in solution.violations)
    return _PAGE.format(
        name=html.escape(name),
        box=f"{-width / 2:.1f} {-height / 2:.1f} {width:.1f} {height:.1f}",
        unit=f"{max(width, height) / 800:.3f}",
        drawing="\n".join(layers),
        summary=html.escape(f"{title(solution)} (metres)"),
        violations=f'<ul class="bad">{broken}</ul>' if broken else "",
        tables="\n".join(_table(line["properties"], points) for line in lines),
        scale=f"{width / 1000:.1f} km from side to side",
        credit=html.escape(features["credit"]),
    )


def _split(features: Features) -> tuple[Features, Features]:
    lines = [f for f in features if f["geometry"]["type"] == "LineString"]
    return lines, [f for f in features if f["geometry"]["type"] == "Point"]


def _colour(route: int) -> str:
    return matplotlib.colors.to_hex(colour_of(route - 1))


def _ink(route: int) -> str:
    """What can be read on a route's colour."""
    red, green, blue = matplotlib.colors.to_rgb(_colour(route))
    return "#000" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.65 else "#fff"


def _shift(index: int, count: int) -> float:
    """Pixels to the right and down, so that routes along one street are seen side by side."""
    return (index - (count - 1) / 2) * min(3.0, 12 / max(count - 1, 1))


def _metres(coordinates: Sequence[Any], middle: Float[np.ndarray, "2"]) -> Float[np.ndarray, "k 2"]:
    """Of the drawing, whose second axis points south."""
    return to_metres(np.atleast_2d(coordinates), middle) * (1, -1)


def _drawn(places: Float[np.ndarray, "k 2"]) -> str:
    """An SVG path."""
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places.tolist())


def _line(feature: dict[str, Any], middle: Float[np.ndarray, "2"], shift: float) -> str:
    told = feature["properties"]
    route, colour = told["route"], _colour(told["route"])
    places = _metres(feature["geometry"]["coordinates"], middle)
    words = html.escape(f"Route {route}: {_figures(told)}")
    arrows = "".join(
        f'<path class="arrow" d="M-4 -5 L6 0 L-4 5 Z" style="fill: {colour}; '
        f"transform: translate({x:.1f}px, {y:.1f}px) rotate({turn:.0f}deg) "
        'scale(var(--unit))"/>'
        for x, y, turn in _arrows(places, told["num_stops"] + 1)
    )
    return (
        f'<g data-route="{route}" class="line" style="--shift: {shift:.2f}"><path '
        f'd="{_drawn(places)}" stroke="{colour}"><title>{words}</title></path>{arrows}</g>'
    )


def _arrows(places: Float[np.ndarray, "k 2"], count: int) -> list[tuple[float, float, float]]:
    """Places along a line at equal distances, and degrees clockwise from east in which it goes."""
    step = np.diff(places, axis=0)
    length = np.linalg.norm(step, axis=1)
    end = np.cumsum(length)
    if not len(end) or end[-1] == 0:
        return []
    wanted = (np.arange(count) + 0.5) / count * end[-1]
    on = np.searchsorted(end, wanted).clip(max=len(end) - 1)
    share = (wanted - (end - length)[on]) / length[on]
    at = places[on] + share[:, None] * step[on]
    turn = np.degrees(np.arctan2(step[on, 1], step[on, 0]))
    return [(*place, angle) for place, angle in zip(at.tolist(), turn.tolist(), strict=True)]


def _dot(feature: dict[str, Any], middle: Float[np.ndarray, "2"]) -> str:
    """A line of no length with round or square ends: its size is that of the screen."""
    told = feature["properties"]
    depot = told["kind"] == "depot"
    places = _metres(feature["geometry"]["coordinates"], middle)
    x, y = (f"{value:.1f}" for value in places[0].tolist())
    label = "D" if depot else told["sequence"]
    words = f"{told['name']}: " + (
        f"depot, leaves {clock(told['departure'])}"
        if depot
        else f"arrival {clock(told['arrival'])}, waiting {clock(told['waiting'])}, departure "
        f"{clock(told['departure'])}, load {told['load']:g}"
    )
    return (
        f'<g data-route="{"" if depot else told["route"]}"><path d="{_drawn(places)} h0.01" '
        f'stroke-width="18" stroke="{"#000" if depot else _colour(told["route"])}" stroke-linecap='
        f'"{"square" if depot else "round"}"><title>{html.escape(words)}</title></path>'
        f'<text x="{x}" y="{y}" fill="{"#fff" if depot else _ink(told["route"])}">{label}</text>'
        "</g>"
    )


def _figures(route: dict[str, Any]) -> str:
    """What a route does, in a line."""
    many = "1 stop" if route["num_stops"] == 1 else f"{route['num_stops']} stops"
    load = f", load {route['load']:g}" if route["load"] else ""
    return (
        f"{many}, {route['distance'] / 1000:.2f} km, {clock(route['start'])} to "
        f"{clock(route['end'])}{load}"
    )


_COLUMNS = (
    ("arrival", clock),
    ("waiting", clock),
    ("departure", clock),
    ("load", "{:g}".format),
)
"""Properties of a visit, and how each is written."""


def _table(route: dict[str, Any], points: Features) -> str:
    """The legend of a route, and its timetable; waiting and loads where there are some."""
    visits = [p["properties"] for p in points if p["properties"]["route"] == route["route"]]
    shown = [
        (key, written)
        for key, written in _COLUMNS
        if key not in ("waiting", "load") or any(visit[key] for visit in visits)
    ]
    head = "".join(f"<th>{key}</th>" for key, _ in shown)
    rows = "\n".join(
        f"<tr><td>{v['sequence']}</td><td>{html.escape(v['name'])}</td>"
        + "".join(f"<td>{written(v[key])}</td>" for key, written in shown)
        + "</tr>"
        for v in visits
    )
    return (
        f'<details open><summary><input type="checkbox" checked data-route="{route["route"]}">'
        f'<span class="swatch" style="background: {_colour(route["route"])}"></span>'
        f'Route {route["route"]}</summary>\n<p class="small">{html.escape(_figures(route))}</p>\n'
        f"<table><tr><th></th><th>stop</th>{head}</tr>\n{rows}</table></details>"
    )
