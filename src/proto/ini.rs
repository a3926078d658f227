//! Configuration text.
