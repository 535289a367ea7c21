"""Law forms, one file each, and the published coefficients."""
