"""Which pilot runs to train, so that the forecast at a larger budget is sharpest."""
