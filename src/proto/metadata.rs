//! Name/value pairs of a file.
