"""What every protocol is made of: messages, their place, conversations, errors, randomness, numbers."""
