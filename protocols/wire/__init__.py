"""Messages as bytes: the strict, canonical form of protobuf's wire format."""
