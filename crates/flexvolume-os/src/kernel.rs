//! The system calls that no crate offers safely.
