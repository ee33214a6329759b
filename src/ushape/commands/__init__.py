"""One thin function per command, by subject. Nothing here computes; everything here is importable elsewhere."""
