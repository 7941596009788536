"""What the end-to-end and fault tests stand on; each file has one subject."""
