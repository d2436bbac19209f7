"""Tables as HTML, for the report: no script, no file beside it."""

from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

MOST_ROWS = 5000
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 12px sans-serif; margin: 1em; color: #222; background: #fff }}
table {{ border-collapse: collapse }}
th, td {{ padding: 2px 10px 2px 0; text-align: right; vertical-align: top; white-space: nowrap }}
th {{ position: sticky; top: 0; background: #fff; border-bottom: 1px solid #222 }}
tr:nth-child(even) td {{ background: #f4f4f4 }}
h1 {{ font-size: 16px }}
.text {{ text-align: left }}
td.text:nth-child(3) {{ white-space: normal; overflow-wrap: anywhere; min-width: 22em }}
</style></head><body>
<h1>{title}</h1>
<p>{text}</p>
<table><thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table>
</body></html>
"""


def make_page(table: pd.DataFrame, formats: Mapping[str, str], title: str, text: str) -> str:
    """A page with the first MOST_ROWS rows of a table.

    `formats`: format of each column shown, e.g. "{:.2f}", by its heading; "" for text.
    """
    shown = table.head(MOST_ROWS)
    if len(shown) < len(table):
        text += f" The first {MOST_ROWS} of {len(table)} rows."
    columns = [
        [make_cell(value, pattern) for value in shown[name]] for name, pattern in formats.items()
    ]
    return PAGE.format(
        title=escape(title),
        text=escape(text),
        head="".join(
            f"<th{' class=text' if not pattern else ''}>{escape(name.replace('_', ' '))}</th>"
            for name, pattern in formats.items()
        ),
        body="\n".join(f"<tr>{''.join(row)}</tr>" for row in zip(*columns, strict=True)),
    )


def make_cell(value: object, pattern: str) -> str:
    """A cell; a number that is not known is empty."""
    if not pattern:
        return f"<td class=text>{escape(str(value))}</td>"
    known = not isinstance(value, float) or np.isfinite(value)
    return f"<td>{pattern.format(value) if known else ''}</td>"
