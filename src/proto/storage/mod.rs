//! Bodies of storage messages, one file a family.
//!
//! Used by the storage (requests in, answers out) and the client (the reverse). The content of
//! a file is never part of a body here: only the fixed fields and names before it.
