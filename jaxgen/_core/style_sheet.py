"""Style sheet of pages, readable in light and in dark."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5d6470; --paper: #fdfdfb; --rule: #d9dad3; --card: #f5f5f0;
  --lhs: #2166ac; --rhs: #c05a10; --good: #1a7f45; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --soft: #a0a6b0; --paper: #16181b; --rule: #363a40; --card: #1e2125;
  --lhs: #74b0ea; --rhs: #f0a35e; --good: #5cc98a; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 3rem 1.25rem 5rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 Charter, "Bitstream Charter", "Iowan Old Style", Georgia, "DejaVu Serif", serif; }
h1 { font-size: 2.1rem; font-weight: 600; letter-spacing: -.01em; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; font-weight: 600; margin: 3.5rem 0 .5rem; padding-bottom: .3rem; border-bottom: 2px solid var(--ink); }
h3 { font-size: 1.12rem; font-weight: 600; margin: 0 0 .4rem; }
h4 { font-size: .95rem; font-weight: 600; margin: 1rem 0 0; }
header p { margin: .25rem 0; color: var(--soft); }
header .lead { font-size: 1.15rem; margin-bottom: .8rem; }
header .lead.good, .good { color: var(--good); } header .lead.bad, .bad { color: var(--bad); }
a { color: inherit; text-decoration-color: var(--rule); text-underline-offset: .2em; }
.note, .source { color: var(--soft); font-size: .87rem; margin: .2rem 0 .6rem; }
header .note { margin-top: 1rem; }
.id, .badge, dl, table, .relation, .strip text { font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
.id { font-size: .82em; font-weight: 600; color: var(--soft); white-space: nowrap; }
.badge { font-size: .72rem; font-weight: 600; padding: .1em .6em; border: 1px solid; border-radius: 1em; white-space: nowrap; vertical-align: .1em; }
.wide { overflow-x: auto; margin: 2rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; border-top: 2px solid var(--ink); border-bottom: 2px solid var(--ink); }
th { text-align: left; font-weight: 600; border-bottom: 1px solid var(--ink); }
th, td { padding: .32rem .7rem .32rem 0; vertical-align: baseline; }
td:nth-child(2) { min-width: 14rem; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
article { margin: 1.6rem 0 2.6rem; padding-bottom: 1.6rem; border-bottom: 1px solid var(--rule); }
.formula { overflow-x: auto; padding: .6rem 0; font-size: 1.15rem; }
math { font-family: "STIX Two Math", "Latin Modern Math", "Cambria Math", "Libertinus Math", math; }
.prose { font-size: 1.05rem; margin: .6rem 0; }
.check { display: grid; grid-template-columns: minmax(0, 1fr) 15rem; gap: 0 1.5rem; align-items: center; margin: .5rem 0; }
.relation { grid-column: 1 / -1; margin: .5rem 0 .2rem; font-size: .85rem; color: var(--soft); }
.relation.bad { color: var(--bad); font-weight: 600; } .relation.good { color: var(--soft); }
.control { margin: .8rem 0 0 1rem; padding: .1rem 1rem .5rem; border-left: 2px solid var(--rule); background: var(--card); }
dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .8rem; margin: 0; font-size: .82rem; font-variant-numeric: tabular-nums; }
dt { color: var(--soft); } dd { margin: 0; text-align: right; }
dl.reasons { display: block; font-size: .9rem; }
dl.reasons dt { color: var(--ink); margin-top: .6rem; } dl.reasons dd { text-align: left; color: var(--soft); }
.lhs { color: var(--lhs); } .rhs { color: var(--rhs); }
.strip { width: 100%; height: auto; display: block; }
.strip circle { fill: currentColor; fill-opacity: .75; }
.strip .links line { stroke: var(--soft); stroke-opacity: .3; stroke-width: 1; }
.strip .axis { stroke: var(--soft); stroke-width: 1; }
.strip text { fill: var(--soft); font-size: 11.5px; }
pre { overflow-x: auto; background: var(--card); border-left: 3px solid var(--bad); padding: .8rem 1rem; font-size: .8rem; }
figure { margin: 1.2rem 0 0; padding: .8rem; background: #fff; border: 1px solid var(--rule); }
figure svg { width: 100%; max-width: 36rem; margin: 0 auto; height: auto; display: block; }
@media (max-width: 40rem) { .check { grid-template-columns: 1fr; } .control { margin-left: 0; } }
@media print { article { break-inside: avoid; } }
"""
