"""The language of the field: what is on the sky, how it is drawn, what an instrument makes of it.

Lengths are arcsec, angles radians counted counter-clockwise from +x, masses solar masses. Images are indexed
[row, column]; row 0 is the lowest y and column 0 the lowest x, so draw them with `origin="lower"`.
"""
