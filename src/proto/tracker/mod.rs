//! Bodies of tracker messages, one file a family.
//!
//! Used by the tracker (requests in, answers out), the storage and the client (the reverse).
