//! Stand-ins for the tools that a driver starts: they note that they were started, and end as they are told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::tool;

/// The tools that our drivers start.
const TOOLS: [&str; 10] = [
    "blkid",
    "mkfs.ext4",
    "mkfs.xfs",
    "mkfs.btrfs",
    "e2fsck",
    "resize2fs",
    "xfs_growfs",
    "btrfs",
    "lvm",
    "blkdiscard",
];

/// How a tool ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// At once.
    Before,
    /// When its work is done.
    After,
    /// At its nth system call of these.
    At(&'static str, u32),
}

/// A death, and which start of which tool it comes to: `mkfs.ext4#1`.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    pub(crate) start: String,
    pub(crate) death: Death,
}

impl Fate {
    pub(crate) fn name(&self) -> String {
        match self.death {
            Death::Before => format!("{} before", self.start),
            Death::After => format!("{} after", self.start),
            Death::At(call, number) => format!("{} at {call} {number}", self.start),
        }
    }
}

/// A directory to put in front of `PATH`.
pub(crate) struct Shims {
    directory: PathBuf,
}

impl Shims {
    /// Stand-ins that note each start, and let one meet its fate.
    pub(crate) fn new(directory: PathBuf, fate: Option<&Fate>) -> Self {
        fs::create_dir(&directory).unwrap();
        let log = directory.join("starts");
        fs::write(&log, "").unwrap();
        for name in TOOLS {
            let Some(real) = find(name) else { continue };
            let shim = directory.join(name);
            fs::write(&shim, script(name, &real, (&log, fate))).unwrap();
            fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // A process that another thread starts at this moment holds a copy of what we had open for writing.
        std::thread::sleep(std::time::Duration::from_millis(5));
        Self { directory }
    }

    /// The value of `PATH`.
    pub(crate) fn path(&self) -> String {
        format!("{}:{}", self.directory.display(), std::env::var("PATH").unwrap_or_default())
    }

    /// The tools that were started so far: `mkfs.ext4#1`, in order.
    pub(crate) fn starts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("starts")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let number = |at: usize| lines[..=at].iter().filter(|line| **line == lines[at]).count();
        (0..lines.len()).map(|at| format!("{}#{}", lines[at], number(at))).collect()
    }
}

fn script(name: &str, real: &Path, (log, fate): (&Path, Option<&Fate>)) -> String {
    let (log, real) = (log.display(), real.display());
    let mut text = format!("#!/bin/sh\necho {name} >>{log}\n");
    if let Some(fate) = fate.filter(|fate| fate.start.starts_with(&format!("{name}#"))) {
        let number = fate.start.rsplit('#').next().unwrap();
        let end = match fate.death {
            Death::Before => "kill -9 $$".to_owned(),
            Death::After => format!("{real} \"$@\"; kill -9 $$"),
            Death::At(call, number) => format!(
                "exec strace -f -qq -o /dev/null -e trace={call} -e inject={call}:signal=KILL:when={number} {real} \"$@\""
            ),
        };
        text += &format!("if [ \"$(grep -cx '{name}' {log})\" = {number} ]; then {end}; fi\n");
    }
    text + &format!("exec {real} \"$@\"\n")
}

fn find(name: &str) -> Option<PathBuf> {
    let directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    directories.iter().map(|directory| Path::new(directory).join(name)).find(|file| file.exists())
}

/// Whether a tool can be ended at a certain system call here.
pub(crate) fn can_trace() -> bool {
    find("strace").is_some()
        && std::panic::catch_unwind(|| tool("strace", &["-qq", "-o", "/dev/null", "true"])).is_ok()
}
