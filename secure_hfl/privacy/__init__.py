"""What the Host can do about labels that leak through gradients; `benchmarks/privacy` measures how much it helps."""
