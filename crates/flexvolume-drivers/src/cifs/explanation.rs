//! What a refusal means, and what to do next.
//!
//! The kernel tells the file system's caller an error number and nothing else; what the server said stands in the kernel's
//! log, as the name of an NT status (Linux 6.1). Where the log may not be read, the number alone has to do.

use flexvolume_os::network_mount::{NetworkMountError, Refusal, Step};
use rustix::io::Errno;

use super::request::{CifsRequest, PORT};
use crate::network::{NetworkError, Reached, Request as _};

/// Cause and remedy of a failed mount; what we know nothing of stays as the kernel said it.
pub(super) fn of(request: &CifsRequest, error: NetworkMountError, reached: &Reached) -> NetworkError {
    let (cause, remedy) = match error {
        NetworkMountError::Refused(refusal) => explain(request, &refusal, reached),
        NetworkMountError::Deadline { waited, .. } => (
            format!(
                "{} accepts connections, but did not answer the mount within {}s",
                reached.address,
                waited.as_secs()
            ),
            "is the server starting up or overloaded, and is it an SMB server? A mount of another dead server may also hold this one up: the kernel makes them one after the other"
                .to_owned(),
        ),
        other => return other.into(),
    };
    NetworkError::Refused { source_name: request.source(), cause, remedy }
}

fn explain(request: &CifsRequest, refusal: &Refusal, reached: &Reached) -> (String, String) {
    let errno = Errno::from_raw_os_error(refusal.errno);
    match (refusal.step, errno) {
        (Step::FileSystem, Errno::NODEV) => (
            "this node's kernel has no file system \"cifs\"".to_owned(),
            "run `modprobe cifs` on the node, or use a kernel with it".to_owned(),
        ),
        (Step::FileSystem, Errno::PERM) => (
            "this process may not mount".to_owned(),
            "run the driver as root, outside of a container".to_owned(),
        ),
        (Step::Setting, _) => (
            format!("the kernel refuses {}{}", refusal.subject, said(refusal)),
            "correct that option; not every kernel has every one".to_owned(),
        ),
        (Step::Subdirectory, _) => subdirectory(request, refusal, errno),
        (Step::Target, Errno::LOOP | Errno::NOTDIR) => (
            "the mount dir is a symlink or no directory".to_owned(),
            "make it a real directory; somebody may be trying to mount elsewhere".to_owned(),
        ),
        (Step::Create, _) => {
            status(request, refusal, errno).unwrap_or_else(|| number(request, errno, reached))
        }
        _ => (refusal.to_string(), "see the kernel's log (`dmesg`)".to_owned()),
    }
}

/// What the server's own word means.
fn status(request: &CifsRequest, refusal: &Refusal, errno: Errno) -> Option<(String, String)> {
    let who = request.credentials.who();
    let share = &request.unc.share;
    let (cause, remedy) = match status_of(&refusal.log).filter(|status| fits(status, errno))? {
        "LOGON_FAILURE" | "WRONG_PASSWORD" | "NO_SUCH_USER" => {
            return Some(not_accepted(who));
        }
        "ACCOUNT_LOCKED_OUT" => (
            format!("{who} is locked out after too many wrong passwords"),
            "unlock it on the server, and look who still tries the old password",
        ),
        "ACCOUNT_DISABLED" | "ACCOUNT_EXPIRED" => {
            (format!("{who} is disabled or has expired"), "enable the account on the server")
        }
        "PASSWORD_EXPIRED" | "PASSWORD_MUST_CHANGE" => {
            (format!("the password of {who} has expired"), "set a new one on the server and in the Secret")
        }
        "LOGON_TYPE_NOT_GRANTED" | "ACCOUNT_RESTRICTION" | "INVALID_LOGON_HOURS" | "INVALID_WORKSTATION" => (
            format!("{who} may not log in from the network, from this node, or at this time"),
            "allow it on the server",
        ),
        "BAD_NETWORK_NAME" => return Some(no_share(request)),
        "ACCESS_DENIED" => return Some(denied(who, share)),
        "NOT_SUPPORTED" => return Some(no_version()),
        "TIME_DIFFERENCE_AT_DC" => (
            "the clocks of this node and of the server differ by more than five minutes".to_owned(),
            "set them (`flexvol doctor cifs ADDRESS` shows the difference)",
        ),
        _ => return None,
    };
    Some((cause, remedy.to_owned()))
}

/// Whether the kernel makes this number of this status. If not, the line is of another mount that failed meanwhile.
fn fits(status: &str, errno: Errno) -> bool {
    match status {
        "BAD_NETWORK_NAME" => matches!(errno, Errno::NOENT | Errno::NXIO),
        "NOT_SUPPORTED" => matches!(errno, Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::INVAL),
        _ => {
            use Errno as E;
            matches!(errno, E::ACCESS | E::PERM | E::KEYEXPIRED | E::KEYREJECTED | E::KEYREVOKED | E::IO)
        }
    }
}

/// The name of a status in a line such as `Status code returned 0xc000006d STATUS_LOGON_FAILURE`.
fn status_of(log: &[String]) -> Option<&str> {
    log.iter().find_map(|line| {
        let name = line.split("STATUS_").nth(1)?;
        let end = name.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(name.len());
        name.get(..end)
    })
}

fn not_accepted(who: &str) -> (String, String) {
    (
        format!("the server does not accept {who} with this password"),
        "correct \"username\", \"password\" and \"domain\" in the Secret; after a change on the server the Secret needs it too"
            .to_owned(),
    )
}

fn no_share(request: &CifsRequest) -> (String, String) {
    (
        format!("the server has no share {:?}", request.unc.share),
        "check its name on the server: a share's name is not the path of its directory".to_owned(),
    )
}

fn denied(who: &str, share: &str) -> (String, String) {
    (
        format!("the server does not let {who} open the share {share:?}"),
        "allow it on the server; a server that demands encryption says the same to who does not ask for it (option \"seal\": \"true\")"
            .to_owned(),
    )
}

fn no_version() -> (String, String) {
    (
        "the server speaks no version of SMB, or no encryption, that is asked for".to_owned(),
        "leave \"vers\" out (2.1 to 3.1.1 are tried; 1.0 and 2.0 are not supported); \"seal\" needs version 3 (`flexvol doctor cifs ADDRESS` shows what there is)"
            .to_owned(),
    )
}

/// What an error number alone tells.
fn number(request: &CifsRequest, errno: Errno, reached: &Reached) -> (String, String) {
    let (address, port) = (reached.address, request.port.unwrap_or(PORT));
    let who = request.credentials.who();
    match errno {
        Errno::ACCESS | Errno::PERM => {
            let (cause, remedy) = not_accepted(who);
            (format!("{cause}, or does not let it open the share"), remedy)
        }
        Errno::NOENT | Errno::NXIO => no_share(request),
        Errno::KEYREJECTED | Errno::KEYREVOKED => (
            format!("the server refuses {who}: the account is disabled, or may not log in"),
            "enable it on the server".to_owned(),
        ),
        Errno::KEYEXPIRED => (
            format!("the password of {who} has expired"),
            "set a new one on the server and in the Secret".to_owned(),
        ),
        Errno::NOKEY => (
            "there is no Kerberos ticket for this mount".to_owned(),
            "install cifs-utils and keyutils (cifs.upcall), and get a ticket on the node (`kinit -k`)".to_owned(),
        ),
        Errno::HOSTDOWN | Errno::CONNABORTED | Errno::CONNRESET => (
            format!("{address} accepts connections on port {port}, but ends this session"),
            "the password has probably changed on the server since this node has mounted the share with the one of this Secret: correct the Secret. Otherwise the server wants what was not offered (encryption: option \"seal\"), or is no SMB server"
                .to_owned(),
        ),
        Errno::PROTONOSUPPORT | Errno::OPNOTSUPP => no_version(),
        Errno::INVAL => (
            "the kernel refuses the settings, or the server's answer does not fit them".to_owned(),
            "take \"mountOptions\" away one by one".to_owned(),
        ),
        Errno::REMOTE | Errno::XDEV => (
            "the share is a DFS link to another server".to_owned(),
            "name the server and share that it leads to; following it needs keyutils and cifs-utils on the node".to_owned(),
        ),
        other => (std::io::Error::from(other).to_string(), "see the kernel's log (`dmesg`)".to_owned()),
    }
}

fn subdirectory(request: &CifsRequest, refusal: &Refusal, errno: Errno) -> (String, String) {
    let whole = request.unc.directory.as_ref().map(|each| each.path()).unwrap_or_default();
    let part = &refusal.subject;
    match errno {
        Errno::NOENT => (
            format!("there is no {part:?} of the sub-directory {whole:?} in the share"),
            "make it on the server, or correct the name".to_owned(),
        ),
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => (
            format!("{part:?} of the sub-directory {whole:?} is a symlink, no directory, or a link to another server"),
            "name a real directory: symlinks in a share are never followed, since whoever may write there chooses where they lead"
                .to_owned(),
        ),
        Errno::ACCESS | Errno::PERM => (
            format!("{} may not enter {part:?} of the sub-directory {whole:?}", request.credentials.who()),
            "allow it on the server, from the share down to the directory".to_owned(),
        ),
        other => (
            format!("sub-directory {whole:?} at {part:?}: {}", std::io::Error::from(other)),
            "see the kernel's log (`dmesg`)".to_owned(),
        ),
    }
}

/// What the file system wrote, as the end of a sentence.
fn said(refusal: &Refusal) -> String {
    if refusal.log.is_empty() { String::new() } else { format!(" ({})", refusal.log.join("; ")) }
}

#[cfg(test)]
mod tests {
    use flexvolume::{Options, Secret};
    use flexvolume_os::network_mount::{Attributes, NetworkMount};

    use super::*;
    use crate::network::Grants;

    fn told(step: Step, errno: Errno, log: &[&str]) -> String {
        let pairs = [("networkPath".to_owned(), "//files/data/a".to_owned())];
        let secrets = [("username", "alice"), ("password", "hunter2")];
        let secrets = secrets.map(|(key, value)| (key.to_owned(), Secret::new(value)));
        let options = Options { user: pairs.into(), secrets: secrets.into(), ..Options::default() };
        let request = CifsRequest::read(&options, &Grants::default()).unwrap();
        let mount = NetworkMount {
            attempts: Vec::new(),
            go_on: Vec::new(),
            attributes: Attributes::default(),
            subdirectory: None,
            replaces: 0,
        };
        let reached = Reached { address: "10.0.0.1".parse().unwrap(), mount, apart: None };
        let log = log.iter().map(|line| (*line).to_owned()).collect();
        let refusal = Refusal { step, subject: "a".to_owned(), errno: errno.raw_os_error(), attempt: 0, log };
        let told = of(&request, refusal.into(), &reached).to_string();
        assert!(!told.contains("hunter2"), "{told}");
        told
    }

    #[test]
    fn the_server_s_own_word_is_translated() {
        let log = |status: &str| format!("CIFS: Status code returned 0xc000006d STATUS_{status}");
        for (errno, status, part) in [
            (Errno::ACCESS, "LOGON_FAILURE", "does not accept the user of the Secret"),
            (Errno::ACCESS, "ACCESS_DENIED", "\"seal\""),
            (Errno::ACCESS, "ACCOUNT_LOCKED_OUT", "unlock it"),
            (Errno::ACCESS, "ACCOUNT_DISABLED", "enable the account"),
            (Errno::KEYEXPIRED, "PASSWORD_EXPIRED", "has expired"),
            (Errno::NOENT, "BAD_NETWORK_NAME", "no share \"data\""),
            (Errno::OPNOTSUPP, "NOT_SUPPORTED", "leave \"vers\" out"),
        ] {
            let lines = ["CIFS: Attempting to mount \\\\files\\data", &log(status), "CIFS: VFS: failed"];
            let told = told(Step::Create, errno, &lines);
            assert!(told.starts_with("cannot mount //files/data: ") && told.contains(part), "{told}");
        }
    }

    #[test]
    fn the_log_of_another_mount_is_not_ours() {
        let line = "CIFS: Status code returned 0xc000006d STATUS_LOGON_FAILURE";
        let told = told(Step::Create, Errno::NOENT, &[line]);
        assert!(told.contains("no share \"data\""), "{told}");
    }

    #[test]
    fn without_the_log_the_number_has_to_do() {
        for (step, errno, part) in [
            (Step::Create, Errno::ACCESS, "or does not let it open"),
            (Step::Create, Errno::HOSTDOWN, "password has probably changed"),
            (Step::Create, Errno::KEYREJECTED, "enable it"),
            (Step::Create, Errno::NOKEY, "kinit"),
            (Step::Create, Errno::IO, "dmesg"),
            (Step::FileSystem, Errno::NODEV, "modprobe cifs"),
            (Step::Target, Errno::LOOP, "symlink"),
            (Step::Subdirectory, Errno::NOENT, "there is no \"a\""),
            (Step::Subdirectory, Errno::LOOP, "never followed"),
            (Step::Subdirectory, Errno::NOTDIR, "never followed"),
            (Step::Subdirectory, Errno::ACCESS, "may not enter"),
        ] {
            let told = told(step, errno, &["CIFS: Attempting to mount"]);
            assert!(told.contains(part), "{told}");
        }
        let told = told(Step::Setting, Errno::INVAL, &["cifs: Unknown parameter 'a'"]);
        assert!(told.contains("refuses a (cifs: Unknown parameter 'a')"), "{told}");
    }
}
