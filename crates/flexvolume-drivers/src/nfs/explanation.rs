//! What a refusal means, and what to do next.

use flexvolume_os::network_mount::{NetworkMountError, Refusal, Step};
use rustix::io::Errno;

use super::request::NfsRequest;
use crate::network::{NetworkError, Reached, Request as _};

/// Cause and remedy of a failed mount; what we know nothing of stays as the kernel said it.
pub(super) fn of(request: &NfsRequest, error: NetworkMountError, reached: &Reached) -> NetworkError {
    let refused = |cause: String, remedy: String| NetworkError::Refused {
        source_name: request.source(),
        cause,
        remedy,
    };
    match error {
        NetworkMountError::Refused(refusal) => {
            let (cause, remedy) = explain(request, &refusal, reached);
            refused(cause, remedy)
        }
        NetworkMountError::Deadline { waited, .. } => refused(
            format!(
                "{} accepts connections, but did not answer the mount within {}s",
                reached.address,
                waited.as_secs()
            ),
            "is the server starting up (it answers nothing in its grace period), overloaded, or is something between that lets only the connection through?"
                .to_owned(),
        ),
        other => other.into(),
    }
}

/// Version 3 without its lock daemon.
pub(super) fn no_locks(source: &str) -> NetworkError {
    NetworkError::Refused {
        source_name: source.to_owned(),
        cause: "locks of version 3 need rpc.statd, which does not run on this node, and without it a program that locks a file hangs"
            .to_owned(),
        remedy: "install and start it (package nfs-common), use \"vers\": \"4.2\", or give \"mountOptions\": \"nolock\" if no two nodes lock the same files"
            .to_owned(),
    }
}

fn explain(request: &NfsRequest, refusal: &Refusal, reached: &Reached) -> (String, String) {
    let errno = Errno::from_raw_os_error(refusal.errno);
    let said = said(refusal);
    match (refusal.step, errno) {
        (Step::FileSystem, Errno::NODEV) => (
            format!("this node's kernel has no file system {:?}", refusal.subject),
            "run `modprobe nfsv4` on the node, or use a kernel with NFS".to_owned(),
        ),
        (Step::FileSystem, Errno::PERM) => (
            "this process may not mount".to_owned(),
            "run the driver as root, outside of a container".to_owned(),
        ),
        (Step::Setting | Step::Create, Errno::INVAL) => (
            format!("the kernel refuses {}{said}", or("the settings", &refusal.subject)),
            "correct that option; not every kernel has every one".to_owned(),
        ),
        (Step::Subdirectory, _) => subdirectory(request, refusal, errno),
        (Step::Target, Errno::LOOP | Errno::NOTDIR) => (
            "the mount dir is a symlink or no directory".to_owned(),
            "make it a real directory; somebody may be trying to mount elsewhere".to_owned(),
        ),
        (Step::Create, _) => create(request, errno, (&said, reached)),
        _ => (refusal.to_string(), "see the kernel's log (`dmesg`)".to_owned()),
    }
}

fn create(request: &NfsRequest, errno: Errno, (said, reached): (&str, &Reached)) -> (String, String) {
    let address = reached.address;
    match errno {
        Errno::NOENT => (
            format!("the server has no export {:?} for this node", request.export),
            "check the path and the server's export list (`flexvol doctor nfs ADDRESS` shows it); with version 4 paths begin at the server's pseudo root, which may not be `/`"
                .to_owned(),
        ),
        Errno::ACCESS | Errno::PERM => (
            format!("the server does not let this node mount {:?}{said}", request.export),
            "add the node's address to the export, or allow the security flavour (`sec`) that is asked for; a server that wants ports below 1024 refuses \"noresvport\""
                .to_owned(),
        ),
        Errno::PROTONOSUPPORT | Errno::OPNOTSUPP => {
            let versions: Vec<_> = request.versions.iter().map(|version| version.as_str()).collect();
            (
                format!("the server speaks none of the versions {}", versions.join(", ")),
                "leave \"vers\" out, or enable one of them on the server".to_owned(),
            )
        }
        Errno::CONNREFUSED => (
            format!("{address} refuses connections to a service that the mount needs"),
            "is the server running? Version 3 also needs its rpcbind and mountd".to_owned(),
        ),
        Errno::TIMEDOUT | Errno::IO => (
            format!("{address} accepts connections, but does not answer"),
            "is the server starting up (grace period) or overloaded?".to_owned(),
        ),
        Errno::STALE => (
            format!("what {:?} was on the server is not there any more", request.export),
            "export it again on the server (`exportfs -ra`)".to_owned(),
        ),
        other => (format!("{}{said}", std::io::Error::from(other)), "see the kernel's log (`dmesg`)".to_owned()),
    }
}

fn subdirectory(request: &NfsRequest, refusal: &Refusal, errno: Errno) -> (String, String) {
    let whole = request.subdirectory.as_ref().map(|each| each.path()).unwrap_or_default();
    let part = &refusal.subject;
    match errno {
        Errno::NOENT => (
            format!("there is no {part:?} of the sub-directory {whole:?} in the export"),
            "make it, or have it made by \"subdirectoryMode\"".to_owned(),
        ),
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => (
            format!("{part:?} of the sub-directory {whole:?} is a symlink, no directory, or another file system of the server"),
            "name a real directory: symlinks in an export are never followed, since whoever may write there chooses where they lead"
                .to_owned(),
        ),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => (
            format!("{part:?} of the sub-directory {whole:?} cannot be entered or made ({})", std::io::Error::from(errno)),
            "root of a node is nobody on most servers (`root_squash`): give the directory to whom it is for, or make it on the server".to_owned(),
        ),
        other => (format!("sub-directory {whole:?} at {part:?}: {}", std::io::Error::from(other)), "see the kernel's log (`dmesg`)".to_owned()),
    }
}

/// What the file system wrote, as the end of a sentence.
fn said(refusal: &Refusal) -> String {
    if refusal.log.is_empty() { String::new() } else { format!(" ({})", refusal.log.join("; ")) }
}

fn or<'a>(otherwise: &'a str, text: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}
