"""The frame of every HTML page: one self-contained file, whose reader's browser asks for nothing outside it."""

from html import escape

STYLE = """
body { font: 15px/1.45 "Liberation Sans", Arial, Helvetica, "DejaVu Sans", "Noto Sans", sans-serif; color: #222;
  background: #fff; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; } a { color: #0a5a94; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
th, td { text-align: right; } summary { cursor: pointer; padding: .15rem 0; } pre { white-space: pre-wrap; }
""".strip()
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a browser then refuses whatever a name might smuggle in


def page(title: str, style: str, body: str) -> str:
    """A whole page without scripts.

    Args:
        title: plain text; the page's first heading too.
        style: CSS after `STYLE`.
        body: HTML under the first heading; whatever comes from data is escaped in it.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n{style.strip()}\n</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
