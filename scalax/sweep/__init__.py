"""An experiment file to runs, who executes them, the fit, the check, the report."""
