"""What tests that each side of a secret-shared layer computes with its own share, whatever hides the shares."""
