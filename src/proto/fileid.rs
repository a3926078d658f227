//! File ids: parse, print, what they encode (storage.md 2).
