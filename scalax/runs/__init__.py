"""The runs table: one row per training run; reading, column mapping, checks and cleaning."""
