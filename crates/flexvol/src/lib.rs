//! x
pub mod manifest;
pub mod secrets;
