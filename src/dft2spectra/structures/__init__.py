"""Where crystals come from, the one form they take, and which of them are computed."""
