"""Real spin-polarised DFT of crystals with GPAW and the hyperfine parameters at each nucleus."""
