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
#side {{ width: 25em; overflow: auto; padding: 0 1em; border-left: 1px solid #ccc; }}
#map {{ flex: 1; background: #f4f4f0; cursor: grab; min-width: 0; touch-action: none; }}
h1 {{ font-size: 1.3em; }} table {{ border-collapse: collapse; width: 100%; }}
td, th {{ text-align: right; padding: 0.1em 0.3em; }}
td:nth-child(2), th:nth-child(2) {{ text-align: left; }}
summary {{ margin-top: 0.6em; cursor: pointer; }} .bad {{ color: #b00; }}
.swatch {{ display: inline-block; width: 1.6em; height: 0.5em; margin: 0 0.4em; }}
svg path {{ fill: none; vector-effect: non-scaling-stroke; stroke-linejoin: round; }}
svg text {{ text-anchor: middle; dominant-baseline: central; fill: #fff; pointer-events: none;
  font-size: calc(var(--unit) * 10px); font-weight: bold; }}
.off {{ display: none; }}
</style></head>
<body>
<svg id="map" viewBox="{box}" preserveAspectRatio="xMidYMid meet" style="--unit: {unit}">
{drawing}
</svg>
<div id="side">
<h1>{name}</h1>
<p>{summary}</p>
{violations}
{tables}
<p>{scale}Drag to move, wheel to zoom, double click for all. {credit}</p>
</div>
<script>
const map = document.getElementById("map"), whole = map.getAttribute("viewBox");
let box = whole.split(" ").map(Number), held = null;
function unit() {{ return Math.max(box[2] / map.clientWidth, box[3] / map.clientHeight); }}
function show() {{
  map.setAttribute("viewBox", box.join(" "));
  map.style.setProperty("--unit", unit());
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
        *(_line(feature, middle) for feature in lines),
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
        scale=f"The whole is {width / 1000:.1f} km wide. ",
        credit=html.escape(features["credit"]),
    )


def _split(features: Features) -> tuple[Features, Features]:
    lines = [f for f in features if f["geometry"]["type"] == "LineString"]
    return lines, [f for f in features if f["geometry"]["type"] == "Point"]


def _colour(route: int) -> str:
    return matplotlib.colors.to_hex(colour_of(route - 1))


def _drawn(coordinates: Sequence[Any], middle: Float[np.ndarray, "2"]) -> str:
    """An SVG path; its second axis points south."""
    metres = to_metres(np.atleast_2d(coordinates), middle) * (1, -1)
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in metres.tolist())


def _line(feature: dict[str, Any], middle: Float[np.ndarray, "2"]) -> str:
    route = feature["properties"]["route"]
    path = _drawn(feature["geometry"]["coordinates"], middle)
    told = html.escape(_heading(feature["properties"]))
    return (
        f'<g data-route="{route}"><path d="{path}" stroke="{_colour(route)}" stroke-width="4" '
        f'stroke-opacity="0.8"><title>{told}</title></path></g>'
    )


def _dot(feature: dict[str, Any], middle: Float[np.ndarray, "2"]) -> str:
    """A line of no length with round or square ends: its size is that of the screen."""
    told = feature["properties"]
    depot = told["kind"] == "depot"
    path = _drawn(feature["geometry"]["coordinates"], middle)
    x, y = path[1:].split()
    label = "D" if depot else told["sequence"]
    words = f"{told['name']}: " + (
        f"depot, leaves {clock(told['departure'])}"
        if depot
        else f"arrival {clock(told['arrival'])}, waiting {clock(told['waiting'])}, departure "
        f"{clock(told['departure'])}, load {told['load']:g}"
    )
    return (
        f'<g data-route="{"" if depot else told["route"]}"><path d="{path} h0.01" stroke-width='
        f'"18" stroke="{"#000" if depot else _colour(told["route"])}" stroke-linecap='
        f'"{"square" if depot else "round"}"><title>{html.escape(words)}</title></path>'
        f'<text x="{x}" y="{y}">{label}</text></g>'
    )


def _heading(route: dict[str, Any]) -> str:
    return (
        f"Route {route['route']}: {route['num_stops']} stops, {route['distance'] / 1000:.2f} km, "
        f"{clock(route['start'])} to {clock(route['end'])}, load {route['load']:g}"
    )


def _table(route: dict[str, Any], points: Features) -> str:
    """The legend of a route, and its timetable."""
    visits = [p["properties"] for p in points if p["properties"]["route"] == route["route"]]
    rows = "\n".join(
        f"<tr><td>{v['sequence']}</td><td>{html.escape(v['name'])}</td>"
        f"<td>{clock(v['arrival'])}</td><td>{clock(v['waiting'])}</td>"
        f"<td>{clock(v['departure'])}</td><td>{v['load']:g}</td></tr>"
        for v in visits
    )
    return (
        f'<details open><summary><input type="checkbox" checked data-route="{route["route"]}">'
        f'<span class="swatch" style="background: {_colour(route["route"])}"></span>'
        f"{html.escape(_heading(route))}</summary>\n<table><tr><th></th><th>stop</th>"
        f"<th>arrival</th><th>waiting</th><th>departure</th><th>load</th></tr>\n{rows}</table>"
        "</details>"
    )
