"""Results as text, figures and an HTML page."""
