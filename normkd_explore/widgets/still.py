"""A widget leaves a picture behind, and the picture is seen wherever the widget is not.

A notebook keeps a widget's picture beside its live view. JupyterLab shows the live view of a notebook that was run, and
where the kernel is gone only "Error displaying widget: model not found". So a style goes ahead of it: in an output that
holds no live view it hides that message and shows the picture.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import uuid4

from IPython.display import display

from normkd_explore.figures.svg import Svg

SVG_MIME = "image/svg+xml"
# The first selector finds the style itself, the second the output after it, the third what JupyterLab put there
# instead of a live view: its message.
_SLOT = (
    ".jp-OutputArea-child:has([data-nk-still='{key}']) + .jp-OutputArea-child > "
    ".jp-OutputArea-output.jupyter-widgets:not(:has(.nk))"
)


class StillMixin:
    """Puts `still()` beside a widget's live view. A class that has it comes before `AnyWidget`."""

    def still(self) -> Svg:
        """Draw the present view as a picture."""
        raise NotImplementedError

    def _ipython_display_(self, **kwargs: Any) -> None:
        view = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        first, second = (uuid4().hex for _ in range(2))
        self._outputs = [*getattr(self, "_outputs", []), (first, second, view)]
        self._put_out(first, second, view, update=False)

    def renew_still(self) -> None:
        """Put the present picture into every output that shows this widget."""
        for first, second, view in getattr(self, "_outputs", []):
            self._put_out(first, second, view, update=True)

    def _put_out(self, first: str, second: str, view: tuple[dict[str, Any], dict[str, Any]], update: bool) -> None:
        svg, (data, metadata) = self.still(), view
        style = {"text/html": fallback_style(svg), "text/plain": ""}
        display(style, raw=True, display_id=first, update=update)
        shown = {**data, "text/plain": repr(self), SVG_MIME: str(svg)}
        display(shown, metadata=metadata, raw=True, display_id=second, update=update)


def fallback_style(svg: Svg) -> str:
    """HTML that shows a picture in the next output, where JupyterLab has no live view for it."""
    address, words = f"data:image/svg+xml,{quote(str(svg), safe=_SAFE)}", svg.title.replace('"', "”")
    key = svg.key()
    slot = _SLOT.format(key=key)
    return (
        f'<style data-nk-still="{key}">{slot} {{ font-size: 0; }} '
        f'{slot}::after {{ content: url("{address}") / "{words}"; }}</style>'
    )


# Left as they are, so that the address stays short; quotes, brackets, percent and hash signs may not.
_SAFE = " =:/,;.-_+*!()$&@?'"
