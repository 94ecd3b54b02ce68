//! Named points at which a test can end or delay the process.
//!
//! Compiled in only with the feature `failpoints`. `FLEXVOL_FAILPOINT=NAME=ACTION` with the actions `abort`, `hang`,
//! `sleep:MILLISECONDS`; `NAME` may end in `*`, and `NAME#3` is the third time that it is passed. With `FLEXVOL_FAILPOINT_LOG=FILE` every point that is passed is
//! appended to the file, one name a line, so that a test learns the points instead of listing them.
//!
//! `abort` is death by SIGKILL: no destructor runs and nothing is flushed, as in a power cut of this one process.

/// Acts if the environment says so.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn hit(name: &str) {
    let _ = name;
}

#[cfg(feature = "failpoints")]
pub use enabled::hit;

#[cfg(feature = "failpoints")]
mod enabled {
    use std::ffi::OsStr;
    use std::io::Write as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Acts if the environment says so.
    pub fn hit(name: &str) {
        if let Some(file) = std::env::var_os("FLEXVOL_FAILPOINT_LOG") {
            record(&file, name);
        }
        if let Ok(setting) = std::env::var("FLEXVOL_FAILPOINT")
            && let Some((pattern, action)) = setting.split_once('=')
            && is_now(pattern, name)
        {
            act(action);
        }
    }

    fn record(file: &OsStr, name: &str) {
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(file);
        if let Ok(mut log) = opened {
            // One write, so that the lines of parallel processes do not mix.
            let _ = log.write_all(format!("{name}\n").as_bytes());
        }
    }

    /// Whether this passage is the one that is meant; counts the ones before.
    fn is_now(pattern: &str, name: &str) -> bool {
        static PASSED: AtomicUsize = AtomicUsize::new(0);
        match pattern.split_once('#') {
            None => matches(pattern, name),
            Some((pattern, number)) => {
                matches(pattern, name) && number.parse() == Ok(PASSED.fetch_add(1, Ordering::Relaxed) + 1)
            }
        }
    }

    pub(super) fn matches(pattern: &str, name: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        }
    }

    fn act(action: &str) {
        match action {
            "abort" => {
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                hang();
            }
            "hang" => hang(),
            _ => {
                if let Some(Ok(milliseconds)) = action.strip_prefix("sleep:").map(str::parse) {
                    std::thread::sleep(Duration::from_millis(milliseconds));
                }
            }
        }
    }

    fn hang() -> ! {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::enabled::matches;

    #[test]
    fn a_pattern_names_one_point_or_all_with_its_prefix() {
        assert!(matches("atomic.written", "atomic.written"));
        assert!(!matches("atomic.written", "atomic.written.twice"));
        assert!(matches("atomic.*", "atomic.renamed"));
        assert!(!matches("atomic.*", "mount.done"));
        assert!(matches("*", "anything"));
    }
}
