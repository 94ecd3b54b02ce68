//! Figures of a volume, from a file system that may not answer.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use flexvolume_host::plugin::Metrics;
use tonic::Status;

/// How long a file system may take to say how full it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks file systems for their figures; one that hangs is asked once, and never again before it has answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchdog(Arc<Mutex<HashSet<PathBuf>>>);

impl Watchdog {
    /// The figures of the file system at `directory`.
    ///
    /// # Errors
    /// UNAVAILABLE if it does not answer in time, INTERNAL if it fails.
    pub(crate) fn figures(&self, directory: &Path) -> Result<Metrics, Status> {
        self.figures_by(directory, Metrics::of, PATIENCE)
    }

    fn figures_by<E: std::fmt::Display + Send + 'static>(
        &self,
        directory: &Path,
        ask: impl FnOnce(&Path) -> Result<Metrics, E> + Send + 'static,
        patience: Duration,
    ) -> Result<Metrics, Status> {
        let silent = || {
            let text = format!("the file system at {} does not answer", directory.display());
            Status::unavailable(text)
        };
        if !self.asked().insert(directory.to_owned()) {
            return Err(silent());
        }
        let (sender, answer) = mpsc::channel();
        let (this, place) = (self.clone(), directory.to_owned());
        let asking = thread::Builder::new().stack_size(64 << 10).spawn(move || {
            let figures = ask(&place);
            this.asked().remove(&place);
            // Nobody waits for an answer that came too late.
            let _ = sender.send(figures);
        });
        if asking.is_err() {
            self.asked().remove(directory);
            return Err(Status::resource_exhausted("no thread can be started"));
        }
        match answer.recv_timeout(patience) {
            Ok(figures) => figures.map_err(|error| Status::internal(error.to_string())),
            Err(_) => Err(silent()),
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_file_system_that_hangs_is_answered_for_in_time_and_asked_once() {
        let (watchdog, place) = (Watchdog::default(), Path::new("/"));
        let (release, gate) = mpsc::channel::<()>();
        let hang = move |place: &Path| {
            let _ = gate.recv();
            Metrics::of(place)
        };
        let silent = watchdog.figures_by(place, hang, Duration::from_millis(50)).unwrap_err();
        assert_eq!(silent.code(), Code::Unavailable);
        assert!(silent.message().contains("does not answer"), "{silent}");
        let again = watchdog.figures_by(place, |_| Err("it is asked again"), PATIENCE).unwrap_err();
        assert_eq!(again.code(), Code::Unavailable, "{again}");
        assert!(watchdog.figures(Path::new("/proc")).is_ok(), "one that hangs holds up no other");
        drop(release);
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while watchdog.figures(place).is_err() {
            assert!(std::time::Instant::now() < end, "it has answered, and is asked again");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
