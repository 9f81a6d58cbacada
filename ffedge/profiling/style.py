"""The look of a profile's page: one style sheet, light and dark, for a phone, a desk and paper."""

from __future__ import annotations

#: Widths of a plot in CSS pixels from which more labels are shown.
STEPS = (240, 280, 320, 360, 400, 480, 560, 640, 720, 800, 960)

#: Any plot is at least this wide, on the smallest phone.
NARROWEST = 200

# Okabe and Ito's colours, told apart by people who see fewer of them.
_SHEET = """
:root{color-scheme:light dark;--page:#f3f4f6;--card:#fff;--ink:#1a1f26;--soft:#525b66;
--line:#d5dae1;--free:#eceef1;--good:#0b6b3f;--good-bg:#dff3e7;--bad:#a3201a;--bad-bg:#fbe3e0;
--limit:#a3201a;--hover:#0001;--c0:#0072b2;--c1:#e69f00;--c2:#009e73;--c3:#cc79a7;--c4:#56b4e9;
--c5:#8a8f98;--c6:#f0e442;--c7:#d55e00;--p0:#5d6673;--p1:#7f8896;--p2:#a2aab6;--p3:#c5cbd4;
--p4:#0072b2;--p5:#e3e6ea;--on-pale:#111}
@media (prefers-color-scheme:dark){:root{--page:#0e1116;--card:#171b22;--ink:#e8ebef;
--soft:#a3adb9;--line:#323a45;--free:#222831;--good:#6fdc9d;--good-bg:#12351f;--bad:#ff9a90;
--bad-bg:#471a17;--limit:#ff8a80;--hover:#fff2;--c0:#2878bd;--c2:#12a87f;--c5:#8b939f;
--p0:#9aa4b1;--p1:#7d8794;--p2:#626c79;--p3:#4a535f;--p4:#2878bd;--p5:#2a313b;--on-pale:#fff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);overflow-wrap:anywhere;
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",Arial,sans-serif}
main,header,footer{max-width:1120px;margin:0 auto;padding:0 16px}
header{padding-top:28px}
h1{font-size:clamp(1.4rem,4.5vw,2rem);line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:1.2rem;line-height:1.3;margin:0 0 4px}
h3{font-size:1rem;margin:0 0 8px}
p{margin:0 0 12px}
.soft,.note{color:var(--soft)}
.note{font-size:.875rem}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px;
margin:0 0 20px}
.cards{display:grid;gap:12px;margin:20px 0;grid-template-columns:repeat(auto-fit,minmax(165px,1fr))}
.cards>div{background:var(--card);border:1px solid var(--line);border-radius:12px;
padding:14px 16px}
.cards dt{color:var(--soft);font-size:.875rem}
.cards dd{margin:0}
.cards .big{font-size:1.75rem;font-weight:650;line-height:1.25;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.cards .more{font-size:.875rem;color:var(--soft)}
.yes,.no{display:inline-block;border-radius:999px;padding:0 10px;font-weight:600;
white-space:nowrap}
.yes{color:var(--good);background:var(--good-bg)}
.no{color:var(--bad);background:var(--bad-bg)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin:8px 0 12px;padding:0;
font-size:.875rem}
.legend b{font-weight:600;font-variant-numeric:tabular-nums}
.swatch{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;
vertical-align:-1px;border:1px solid #0003;print-color-adjust:exact;
-webkit-print-color-adjust:exact}
.plot{container-type:inline-size;margin:0 4px 0 64px}
.bar{container-type:inline-size}
svg{display:block;width:100%;overflow:visible;print-color-adjust:exact;
-webkit-print-color-adjust:exact}
svg text{font-size:12px;fill:var(--soft);font-family:inherit;font-variant-numeric:tabular-nums}
.blocks{shape-rendering:crispEdges}
.few rect{stroke:var(--card);stroke-width:1}
.edge{stroke:var(--card);stroke-width:1}
.grid{stroke:var(--line);stroke-width:1;shape-rendering:crispEdges}
.between{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3;shape-rendering:crispEdges}
.limit{stroke:var(--limit);stroke-width:2}
.planned{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:6 4}
svg .mark{fill:var(--ink);font-weight:600;paint-order:stroke;stroke:var(--card);stroke-width:4px;
stroke-linejoin:round}
svg .mark.over{fill:var(--limit)}
.hit{fill:transparent}
g:hover>.hit{fill:var(--hover)}
.time{fill:var(--soft)}
.free{fill:var(--free)}
.hatch{stroke:var(--line);stroke-width:1.5}
svg .in{font-size:11px;fill:#111;pointer-events:none}
svg .on0,svg .onp4{fill:#fff}
svg .onp2,svg .onp3,svg .onp5{fill:var(--on-pale)}
svg .onp0{fill:var(--card)}
.panels{display:grid;gap:24px;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));
margin-top:20px}
.panels>div{min-width:0}
.scroll{overflow:auto;border:1px solid var(--line);border-radius:8px;overflow-wrap:normal;
margin-top:8px}
.tall{max-height:34rem}
.scroll:focus-visible,summary:focus-visible{outline:2px solid var(--c0);outline-offset:2px}
.swatch,.meter,svg{forced-color-adjust:none}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.875rem;
font-variant-numeric:tabular-nums}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:6px 12px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);
white-space:nowrap}
.wrap{white-space:normal;min-width:9.5rem}
tbody:last-child tr:last-child>*{border-bottom:0}
thead th{position:sticky;top:0;z-index:2;background:var(--card);color:var(--soft);
font-weight:600;white-space:nowrap}
tbody th{font-weight:500}
tbody th[scope=rowgroup]{font-weight:650;background:var(--page)}
.n{text-align:right}
.meter{display:block;width:90px;height:8px;margin-top:7px;border-radius:4px;overflow:hidden;
background:var(--p5);print-color-adjust:exact;-webkit-print-color-adjust:exact}
.meter i{display:block;height:100%;background:var(--c2)}
.meter .full{background:var(--c7)}
details{margin-top:12px}
summary{cursor:pointer;font-size:.875rem;color:var(--soft);padding:6px 0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px 20px;
margin:8px 0 0}
.facts dt{color:var(--soft);font-size:.8125rem}
.facts dd{margin:0;font-variant-numeric:tabular-nums}
footer{padding-bottom:32px}
@media (max-width:560px){main,header,footer{padding-left:10px;padding-right:10px}
section{padding:14px 12px}.cards{grid-template-columns:repeat(auto-fit,minmax(145px,1fr));gap:8px}
.cards>div{padding:10px 12px}.cards .big{font-size:1.35rem}}
@media print{:root{--page:#fff}body{font-size:11pt}section{break-inside:avoid-page;border:0;
padding:0}section.long{break-inside:auto}.tall{max-height:none}.scroll{overflow:visible;border:0}
thead th{position:static}}
"""


#: Fills of the categories and of a process's parts.
_COLOURS = (*(f"c{i}" for i in range(8)), *(f"p{i}" for i in range(6)))


def _container(step: int, rules: str) -> str:
    return f"@container (min-width:{step}px){{{rules}}}\n"


def style_sheet() -> str:
    """All of it. ``.fromN`` is shown in plots at least N pixels wide, ``.untilN`` in narrower ones.

    Browsers without container queries show what fits into the narrowest plot.
    """
    hidden = ",".join(f".from{step}" for step in STEPS) + "{display:none}\n"
    shown = "".join(_container(step, f".from{step}{{display:inline}}") for step in STEPS)
    gone = "".join(_container(step, f".until{step}{{display:none}}") for step in STEPS)
    fills = "".join(f".{name}{{fill:var(--{name})}}" for name in _COLOURS) + "\n"
    return _SHEET + fills + hidden + shown + gone
