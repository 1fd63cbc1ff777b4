"""From structures to Mössbauer and infrared spectra."""
