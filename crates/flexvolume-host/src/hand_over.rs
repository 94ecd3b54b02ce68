//! What passes between a node and the controller that attaches volumes for it: which volumes the node wants attached, and
//! which devices the controller has attached. Two files for each volume, each written by one side alone, in a directory
//! that both see:
//!
//! - `NODE/desired/VOLUME.json`, the node's: it wants the volume, and as long as the file is there it may be using it;
//! - `NODE/reported/VOLUME.json`, the controller's: how far it is, and what `attach` answered.
//!
//! This is what `node.status.volumesInUse` and `node.status.volumesAttached` are in Kubernetes (v1.37
//! `pkg/controller/volume/attachdetach`). A node writes its wish before it reads the report, and a controller writes
//! `detaching` before it looks for the wish a last time. So one of them sees the other: what a node has been told is
//! attached is not detached before it has taken its wish back.

mod controller;
mod files;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use flexvolume::{DriverName, VolumeName};
use serde::{Deserialize, Serialize};

use crate::lifecycle::Spec;
use crate::spec::VolumeSpec;

pub use controller::{Act, Controller, Entry, Told};
use files::Files;
pub use files::HandOverError;

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;
/// How often a node looks for the report while it waits.
const POLL: Duration = Duration::from_millis(50);

/// A volume on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    /// The node.
    pub node: String,
    /// The driver.
    pub driver: DriverName,
    /// The name under which the driver knows the volume.
    pub volume: VolumeName,
}

/// What a node wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Desired {
    format: u32,
    #[serde(flatten)]
    of: Attachment,
    spec: Spec,
    /// The node's boot: what was attached before a reboot is attached anew.
    boot: String,
}

/// How far a controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Progress {
    /// `attach` was begun.
    Attaching,
    /// `attach` has answered the device.
    Attached,
    /// `detach` was begun, or is about to be.
    Detaching,
}

/// What a controller has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reported {
    format: u32,
    #[serde(flatten)]
    of: Attachment,
    spec: Spec,
    /// The boot of the node for which it was attached.
    boot: String,
    progress: Progress,
    /// What `attach` answered; may be empty.
    device: String,
    /// Why the last call failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a node can know of a volume that it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It is attached; `attach` answered this device, which may be empty.
    Attached(String),
    /// Not yet; the controller's last error, if it has met with one.
    NotYet(Option<String>),
}

/// The directory, as a node sees it.
#[derive(Debug, Clone)]
pub struct HandOver {
    files: Files,
}

impl HandOver {
    /// Of this directory. Nothing is made yet.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { files: Files::new(directory) }
    }

    /// Asks the controller for a volume and waits a little for its report.
    ///
    /// # Errors
    /// [`HandOverError`].
    pub(crate) fn desire(
        &self,
        of: &Attachment,
        (spec, boot): (&VolumeSpec, &str),
        patience: Duration,
    ) -> Result<Report, HandOverError> {
        let wanted =
            Desired { format: FORMAT, of: of.clone(), spec: Spec::from(spec), boot: boot.to_owned() };
        // A damaged one is replaced: this is the only one who writes it.
        let known = self.files.desired(of).unwrap_or_default();
        if known.as_ref() != Some(&wanted) {
            self.files.write_desired(&wanted)?;
        }
        let end = Instant::now() + patience;
        loop {
            let report = self.report(of, boot)?;
            if matches!(report, Report::Attached(_)) || Instant::now() >= end {
                return Ok(report);
            }
            std::thread::sleep(POLL);
        }
    }

    fn report(&self, of: &Attachment, boot: &str) -> Result<Report, HandOverError> {
        Ok(match self.files.reported(of)? {
            Some(report) if report.progress == Progress::Attached && report.boot == boot => {
                Report::Attached(report.device)
            }
            report => Report::NotYet(report.and_then(|report| report.error)),
        })
    }

    /// Takes the wish back: the volume is not used here any more.
    ///
    /// # Errors
    /// [`HandOverError`].
    pub(crate) fn withdraw(&self, of: &Attachment) -> Result<(), HandOverError> {
        self.files.remove_desired(of)
    }

    /// When reports for this node have changed last: while it stays the same there is nothing new.
    #[must_use]
    pub fn reports_changed(&self, node: &str) -> Option<SystemTime> {
        self.files.reports_changed(node)
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::lifecycle::Spec;

    fn of() -> Attachment {
        Attachment {
            node: "node-1".to_owned(),
            driver: DriverName::parse("example.com/disk").unwrap(),
            volume: VolumeName::parse("pv-1").unwrap(),
        }
    }

    fn spec() -> VolumeSpec {
        Spec::bare(&of().driver, &of().volume).to_volume()
    }

    fn desire(hand_over: &HandOver, boot: &str) -> Report {
        hand_over.desire(&of(), (&spec(), boot), Duration::ZERO).unwrap()
    }

    #[test]
    fn a_report_counts_if_it_is_of_this_boot_and_says_attached() {
        let place = tempfile::tempdir().unwrap();
        let hand_over = HandOver::new(place.path().to_owned());
        assert_eq!(desire(&hand_over, "boot-1"), Report::NotYet(None));
        let mut report = Reported {
            format: FORMAT,
            of: of(),
            spec: Spec::from(&spec()),
            boot: "boot-1".to_owned(),
            progress: Progress::Attaching,
            device: "/dev/x".to_owned(),
            error: Some("no quota".to_owned()),
        };
        hand_over.files.write_reported(&report).unwrap();
        assert_eq!(desire(&hand_over, "boot-1"), Report::NotYet(Some("no quota".to_owned())));
        report.progress = Progress::Attached;
        hand_over.files.write_reported(&report).unwrap();
        assert_eq!(desire(&hand_over, "boot-1"), Report::Attached("/dev/x".to_owned()));
        assert!(matches!(desire(&hand_over, "boot-2"), Report::NotYet(_)));
        hand_over.withdraw(&of()).unwrap();
        hand_over.withdraw(&of()).unwrap();
        assert_eq!(hand_over.files.desired(&of()).unwrap(), None);
    }

    #[test]
    fn the_files_are_root_s_alone_and_a_damaged_wish_is_written_anew() {
        let place = tempfile::tempdir().unwrap();
        let hand_over = HandOver::new(place.path().join("hand-over"));
        desire(&hand_over, "boot-1");
        let directory = place.path().join("hand-over/node-1/desired");
        let file = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(&file, "{").unwrap();
        desire(&hand_over, "boot-1");
        assert!(hand_over.files.desired(&of()).unwrap().is_some());
    }
}
