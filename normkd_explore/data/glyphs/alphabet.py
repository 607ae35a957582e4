"""The 100 classes of Glyphs-100 and the font faces that draw them.

Digits, Latin and Greek letters and a few symbols. Greek capitals that look exactly like Latin ones (Alpha, Beta,
Epsilon, ...) and small letters that nearly do (iota, kappa, nu, omicron, upsilon) are left out: every class can be
told apart in principle. What remains similar is similar to a reader's eye too: O 0 o, l 1 I, 8 B beta, S $ s.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

DIGITS = "0123456789"
LATIN_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LATIN_SMALL = "abcdefghijklmnopqrstuvwxyz"
GREEK_CAPITALS = {
    "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi",
    "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
GREEK_SMALL = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "λ": "lambda", "μ": "mu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi",
    "ψ": "psi", "ω": "omega",
}  # fmt: skip
SYMBOLS = {
    "&": "ampersand", "%": "percent", "#": "number sign", "@": "at sign", "§": "section sign",
    "?": "question mark", "!": "exclamation mark", "$": "dollar", "€": "euro",
}  # fmt: skip

CHARACTERS: tuple[str, ...] = (
    *DIGITS, *LATIN_CAPITALS, *LATIN_SMALL, *GREEK_CAPITALS, *GREEK_SMALL, *SYMBOLS,
)  # fmt: skip

READABLE_NAMES: dict[str, str] = {
    **{c: f"digit {c}" for c in DIGITS},
    **{c: f"capital {c}" for c in LATIN_CAPITALS},
    **{c: f"small {c}" for c in LATIN_SMALL},
    **GREEK_CAPITALS,
    **GREEK_SMALL,
    **SYMBOLS,
}

# Each split has its own faces, so a good test score means that shapes were learned and not typefaces.
FACES: dict[str, tuple[str, ...]] = {
    "train": (
        "DejaVuSans", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique",
        "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique",
        "DejaVuSerif", "DejaVuSerif-BoldItalic", "DejaVuSerif-Italic",
        "STIXGeneral", "STIXGeneralBolIta",
    ),
    "val": ("DejaVuSansMono-Oblique", "STIXGeneralItalic"),
    "test": ("DejaVuSans-Bold", "DejaVuSerif-Bold", "STIXGeneralBol"),
}  # fmt: skip


def face_path(face: str) -> Path:
    """Give the font file of a face; matplotlib ships it.

    Raises:
        FileNotFoundError: when the installed matplotlib has no such file.
    """
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf")
    if not path.is_file():
        raise FileNotFoundError(
            f"Glyphs-100 draws with the font file {path.name}, which matplotlib {matplotlib.__version__} should have "
            f"in {path.parent}; reinstall matplotlib (3.10 or newer) to get it"
        )
    return path
