//! In-memory systems for tests.
