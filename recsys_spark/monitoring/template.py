"""The template of drift.html: one file without scripts, fonts or addresses of anything else."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Drift of {{ run }}</title>
<style>
:root { --ink: #1c2430; --soft: #5b6675; --line: #dde2e9; --first: #8a97a8; --second: #1f6feb; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1100px; padding: 24px; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 32px 0 4px; }
p { margin: 4px 0; } .soft { color: var(--soft); } code { font-size: 13px; overflow-wrap: anywhere; }
.banner { margin: 16px 0; padding: 12px 16px; border-left: 5px solid; border-radius: 4px; }
.banner.drift { background: #fdecea; border-color: #b42318; } .banner.ok { background: #e9f7ef; border-color: #18794e; }
.banner.not_measured { background: #f2f4f7; border-color: #5b6675; }
table { width: 100%; border-collapse: collapse; margin: 8px 0; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 5px 8px; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } td.number { text-align: right; white-space: nowrap; }
th.number { text-align: right; } td.name { width: 30%; overflow-wrap: anywhere; }
.verdict { white-space: nowrap; font-weight: 600; font-size: 13px; }
.verdict.drift { color: #b42318; } .verdict.ok { color: #18794e; }
.verdict.info, .verdict.not_measured { color: var(--soft); font-weight: 400; }
.plots { display: flex; flex-wrap: wrap; gap: 16px; } figure { margin: 8px 0; }
figcaption { font-size: 13px; max-width: 460px; overflow-wrap: anywhere; }
.key { margin-left: 10px; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 10px; height: 10px; margin-right: 4px;
  background: var(--first); }
.key.s1::before { background: var(--second); }
svg { max-width: 100%; height: auto; } svg text { font: 10px system-ui, sans-serif; fill: var(--soft); }
.s0 { fill: var(--first); } .s1 { fill: var(--second); } summary { cursor: pointer; color: var(--soft); margin: 6px 0; }
</style>
</head>
<body>
{% macro rows(measures) %}
<table>
<thead><tr><th>measure</th><th class="number">value</th><th class="number">alarm</th><th>verdict</th>
<th>what it says</th></tr></thead>
<tbody>
{% for measure in measures %}
<tr><td class="name"><code>{{ measure.name }}</code></td>
<td class="number">{{ number(measure.value) }}</td>
<td class="number">{% if measure.alarm %}{{ measure.alarm }} {{ number(measure.threshold) }}{% endif %}</td>
<td class="verdict {{ measure.verdict }}">{{ words[measure.verdict] }}</td>
<td>{{ measure.sentence }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endmacro %}
{% macro draw(plot) %}
<figure>
<figcaption>{{ plot.title }}
{% for name in plot.series %}<span class="key s{{ loop.index0 }}">{{ name }}</span>{% endfor %}</figcaption>
<svg viewBox="0 0 {{ plot.width }} {{ plot.height }}" width="{{ plot.width }}" height="{{ plot.height }}" role="img">
<title>{{ plot.title }}</title>
{% for y, text in plot.scale %}
<line x1="{{ plot.left }}" x2="{{ plot.width }}" y1="{{ y }}" y2="{{ y }}" stroke="#dde2e9"/>
<text x="{{ plot.left - 4 }}" y="{{ y + 4 }}" text-anchor="end">{{ text }}</text>
{% endfor %}
{% for bar in plot.bars %}
<rect class="s{{ bar.series }}" x="{{ bar.x }}" y="{{ bar.y }}" width="{{ bar.width }}" height="{{ bar.height }}">
<title>{{ bar.words }}</title></rect>
{% endfor %}
{% for x, text in plot.ticks %}
<text x="{{ x }}" y="{{ plot.height - 10 }}" text-anchor="middle">{{ text|truncate(13, True, "…", 0) }}</text>
{% endfor %}
</svg>
</figure>
{% endmacro %}
<h1>Drift</h1>
<p class="soft">run <code>{{ run }}</code>, {% if against %}held against the earlier run <code>{{ against }}</code>
{% else %}held against new lines: {% for path in new_lines %}<code>{{ path }}</code> {% endfor %}{% endif %}</p>
<div class="banner {{ state }}">{{ headline }}</div>
{% if alarms %}<h2>Past their threshold</h2>{{ rows(alarms) }}{% endif %}
{% for group in groups %}
<h2>{{ group.title }}</h2>
<p class="soft">{{ group.meaning }}</p>
{% if group.shown %}{{ rows(group.shown) }}{% endif %}
{% if group.plots %}<div class="plots">{% for plot in group.plots %}{{ draw(plot) }}{% endfor %}</div>{% endif %}
{% if group.rest %}
<details><summary>{{ group.rest|length }} more</summary>{{ rows(group.rest) }}</details>
{% endif %}
{% endfor %}
{% if what_differs %}
<h2>What differs in how both runs were made</h2>
<details><summary>{{ counted(what_differs|length, "difference") }}, of which config keys come first</summary>
<table><thead><tr><th>what</th><th>earlier run</th><th>this run</th></tr></thead><tbody>
{% for name, first, second in what_differs %}
<tr><td class="name">{{ name }}</td><td><code>{{ first }}</code></td><td><code>{{ second }}</code></td></tr>
{% endfor %}</tbody></table></details>
{% endif %}
</body>
</html>
"""
