"""The frame of every HTML page: one self-contained file, whose reader's browser asks for nothing outside it."""

import base64
import json
from hashlib import sha256
from html import escape
from typing import Any

# --gap: at either side of a cell. What is wider than the window scrolls: the last two backgrounds are shadows at
# its edges, which the first two hide where there is nothing more.
STYLE = """
:root { --gap: .6rem; } @media (max-width: 30rem) { :root { --gap: .28rem; } }
body { font: 15px/1.45 "Liberation Sans", Arial, Helvetica, "DejaVu Sans", "Noto Sans", sans-serif; color: #222;
  background: #fff; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; } a { color: #0a5a94; }
.wide { overflow-x: auto; background-repeat: no-repeat; background-attachment: local, local, scroll, scroll;
  background-position: left, right, left, right; background-size: 2rem 102%, 2rem 102%, .8rem 100%, .8rem 100%;
  background-image: linear-gradient(90deg, #fff 40%, #fff0), linear-gradient(-90deg, #fff 40%, #fff0),
    linear-gradient(90deg, #0004, #0000), linear-gradient(-90deg, #0004, #0000); }
img { max-width: 100%; height: auto; } figure { margin: 0; }
@media print { nav { display: none; } .wide { background: none; } table, figure { break-inside: avoid; } }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
th, td { text-align: right; } summary { cursor: pointer; padding: .15rem 0; } pre { white-space: pre-wrap; }
""".strip()
# A browser then refuses whatever a name might smuggle in: every request, and every script but the page's own.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
DATA = "data"  # the id of the element that holds the script's data


def page(title: str, style: str, body: str, script: str = "", data: Any = None) -> str:
    """A whole page.

    Args:
        title: plain text; the page's first heading too.
        style: CSS after `STYLE`.
        body: HTML under the first heading; whatever comes from data is escaped in it.
        script: JavaScript that runs at the page's end; without it the page allows none.
        data: what the script reads, as JSON, from the element with the id `DATA`.
    """
    policy, end = POLICY, ""
    if script:
        source = f"\n{script.strip()}\n"
        # `blob:`, images that the script makes of what the page holds
        digest = base64.b64encode(sha256(source.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'; img-src blob:"
        end = f'<script type="application/json" id="{DATA}">{script_data(data)}</script>\n<script>{source}</script>\n'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n{style.strip()}\n</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n{end}</body>\n</html>\n"
    )


def script_data(data: Any) -> str:
    """JSON that may stand within a `script` element: no text in it ends the element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
