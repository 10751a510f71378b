"""Products of bfv: by engine and instruction set, by width and batch, and beside what their transforms must take."""
