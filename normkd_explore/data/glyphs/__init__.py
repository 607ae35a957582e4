"""Glyphs-100: the data set that this package draws itself."""
