"""lenstronomy as a lens simulator, to check the others."""
