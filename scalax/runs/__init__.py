"""The runs table: one row a training run; read, checked, cleaned and written here."""
