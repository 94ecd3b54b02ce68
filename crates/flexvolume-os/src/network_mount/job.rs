//! What the child is told, and what it answers.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::codec::{Reader, Writer};
use super::{AccessTimes, Attributes, FileSystem, NetworkMount, Permission, Refusal, Setting, Subdirectory};
use crate::mount::Access;

/// How a mount is taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// If nobody uses it.
    Plainly,
    /// As plainly, and before that what was written to the file system is written back.
    WrittenBack,
    /// Requests that wait for the server are given up first.
    ByForce,
    /// Out of the tree now; unmounted when the last user is gone.
    Lazily,
    /// As lazily, and the kernel itself is the last user.
    Aside,
}

/// What the child does.
#[derive(Debug)]
pub(super) enum Job {
    Mount {
        mount: NetworkMount,
        target: PathBuf,
    },
    Unmount {
        target: PathBuf,
        how: How,
    },
    /// Asks the server for what it knows of the directory at `target`.
    Look {
        target: PathBuf,
    },
    /// Writes `text` into the file `target` of the kernel.
    Tell {
        target: PathBuf,
        text: String,
    },
}

/// What the child came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// All is done; which attempt at a mount it was.
    Done { attempt: usize },
    /// The kernel refused.
    Failed(Refusal),
}

/// The steps of a mount and an unmount, each a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Opening the directory to mount at.
    Target,
    /// `fsopen`: ENODEV when this kernel has no such file system.
    FileSystem,
    /// `fsconfig` of the setting that the subject names.
    Setting,
    /// Talking to the server.
    Create,
    /// `fsmount`.
    Mount,
    /// Entering a mount namespace of its own.
    Namespace,
    /// Finding or making the part of the sub-directory that the subject names.
    Subdirectory,
    /// `move_mount` to the target.
    Attach,
    /// `umount2`.
    Unmount,
    /// Asking the server.
    Look,
    /// Writing to a file of the kernel.
    Tell,
}

impl Step {
    const ALL: [Self; 11] = [
        Self::Target,
        Self::FileSystem,
        Self::Setting,
        Self::Create,
        Self::Mount,
        Self::Namespace,
        Self::Subdirectory,
        Self::Attach,
        Self::Unmount,
        Self::Look,
        Self::Tell,
    ];

    /// What was being done, for an error message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Target => "open the mount dir",
            Self::FileSystem => "find the file system",
            Self::Setting => "set",
            Self::Create => "reach the server",
            Self::Mount => "make the mount",
            Self::Namespace => "enter a mount namespace",
            Self::Subdirectory => "open the sub-directory",
            Self::Attach => "mount at the mount dir",
            Self::Unmount => "unmount",
            Self::Look => "look at",
            Self::Tell => "write to",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }
}

impl Job {
    /// What is done, for an error message.
    pub(super) fn step(&self) -> &'static str {
        match self {
            Self::Mount { .. } => "mount at",
            Self::Unmount { .. } => "unmount",
            Self::Look { .. } => "look at",
            Self::Tell { .. } => "write to",
        }
    }

    pub(super) fn target(&self) -> &Path {
        match self {
            Self::Mount { target, .. }
            | Self::Unmount { target, .. }
            | Self::Look { target }
            | Self::Tell { target, .. } => target,
        }
    }

    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let out = Writer::default();
        let out = match self {
            Self::Mount { mount, target } => encode_mount(out.text("mount").bytes(raw(target)), mount),
            Self::Unmount { target, how } => {
                let how = match how {
                    How::Plainly => "plainly",
                    How::WrittenBack => "written back",
                    How::ByForce => "by force",
                    How::Lazily => "lazily",
                    How::Aside => "aside",
                };
                out.text("unmount").bytes(raw(target)).text(how)
            }
            Self::Look { target } => out.text("look").bytes(raw(target)),
            Self::Tell { target, text } => out.text("tell").bytes(raw(target)).text(text),
        };
        out.done()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let input = &mut Reader::new(bytes);
        let (word, target) = (input.text()?, PathBuf::from(OsStr::from_bytes(input.bytes()?)));
        match &*word {
            "mount" => Some(Self::Mount { mount: decode_mount(input)?, target }),
            "unmount" => {
                let how = match &*input.text()? {
                    "plainly" => How::Plainly,
                    "written back" => How::WrittenBack,
                    "by force" => How::ByForce,
                    "lazily" => How::Lazily,
                    "aside" => How::Aside,
                    _ => return None,
                };
                Some(Self::Unmount { target, how })
            }
            "look" => Some(Self::Look { target }),
            "tell" => Some(Self::Tell { target, text: input.text()? }),
            _ => None,
        }
    }
}

fn raw(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn encode_mount(out: Writer, mount: &NetworkMount) -> Writer {
    let out = encode_attributes(out, mount.attributes)
        .list(&mount.go_on, |out, errno| out.number(*errno))
        .list(&mount.attempts, |out, attempt| {
            out.text(&attempt.fs_type)
                .bytes(attempt.source.as_bytes())
                .list(&attempt.settings, |out, setting| setting.encode(out))
                .list(&attempt.log_words, |out, word| out.text(word))
        });
    out.list(mount.subdirectory.as_slice(), |out, subdirectory| subdirectory.encode(out))
        .number(mount.replaces)
}

fn decode_mount(input: &mut Reader<'_>) -> Option<NetworkMount> {
    Some(NetworkMount {
        attributes: decode_attributes(input)?,
        go_on: input.list(Reader::number)?,
        attempts: input.list(|input| {
            Some(FileSystem {
                fs_type: input.text()?,
                source: CString::new(input.bytes()?).ok()?,
                settings: input.list(Setting::decode)?,
                log_words: input.list(Reader::text)?,
            })
        })?,
        subdirectory: input.list(Subdirectory::decode)?.pop(),
        replaces: input.number()?,
    })
}

fn encode_attributes(out: Writer, attributes: Attributes) -> Writer {
    let yes = |permission| u8::from(permission == Permission::Granted);
    let times = match attributes.access_times {
        AccessTimes::Relative => 0,
        AccessTimes::Never => 1,
        AccessTimes::Always => 2,
        AccessTimes::FilesOnly => 3,
    };
    out.number(u8::from(attributes.access == Access::ReadOnly))
        .number(yes(attributes.set_user_id))
        .number(yes(attributes.devices))
        .number(yes(attributes.programs))
        .number(times)
}

fn decode_attributes(input: &mut Reader<'_>) -> Option<Attributes> {
    let permission = |number: u8| if number == 1 { Permission::Granted } else { Permission::Refused };
    let access = if input.number::<u8>()? == 1 { Access::ReadOnly } else { Access::ReadWrite };
    Some(Attributes {
        access,
        set_user_id: permission(input.number()?),
        devices: permission(input.number()?),
        programs: permission(input.number()?),
        access_times: match input.number::<u8>()? {
            0 => AccessTimes::Relative,
            1 => AccessTimes::Never,
            2 => AccessTimes::Always,
            3 => AccessTimes::FilesOnly,
            _ => return None,
        },
    })
}

impl Reply {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Done { attempt } => Writer::default().text("done").number(*attempt).done(),
            Self::Failed(refusal) => Writer::default()
                .text("failed")
                .text(refusal.step.as_str())
                .text(&refusal.subject)
                .number(refusal.errno)
                .number(refusal.attempt)
                .list(&refusal.log, |out, line| out.text(line))
                .done(),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let input = &mut Reader::new(bytes);
        match &*input.text()? {
            "done" => Some(Self::Done { attempt: input.number()? }),
            "failed" => Some(Self::Failed(Refusal {
                step: Step::parse(&input.text()?)?,
                subject: input.text()?,
                errno: input.number()?,
                attempt: input.number()?,
                log: input.list(Reader::text)?,
            })),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_reaches_the_child_as_it_was() {
        let mount = NetworkMount {
            attempts: vec![FileSystem {
                fs_type: "nfs4".to_owned(),
                source: c"server:/a b".to_owned(),
                settings: vec![
                    Setting::text("vers", "4.2").unwrap(),
                    Setting::secret("password", b"x").unwrap(),
                ],
                log_words: vec!["NFS".to_owned()],
            }],
            go_on: vec![93],
            attributes: Attributes {
                access: Access::ReadOnly,
                access_times: AccessTimes::Never,
                ..Attributes::default()
            },
            subdirectory: Some(Subdirectory::parse("a/b").unwrap()),
            replaces: 2,
        };
        let jobs = [
            Job::Mount { mount, target: "/pods/a b\n".into() },
            Job::Unmount { target: "/x".into(), how: How::ByForce },
            Job::Unmount { target: "/x".into(), how: How::WrittenBack },
            Job::Unmount { target: "/x".into(), how: How::Aside },
            Job::Look { target: "/x".into() },
        ];
        for job in jobs {
            let read = Job::decode(&job.encode()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{job:?}"));
        }
        assert!(Job::decode(b"5:mount,2:/x,").is_none());
    }

    #[test]
    fn every_step_has_a_name_of_its_own() {
        for step in Step::ALL {
            let refusal = Refusal {
                step,
                subject: "a".to_owned(),
                errno: 13,
                attempt: 1,
                log: vec!["e NFS: x".to_owned()],
            };
            let reply = Reply::Failed(refusal);
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }
}
