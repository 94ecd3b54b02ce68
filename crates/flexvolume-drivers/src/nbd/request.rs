//! The options of `nbd`, typed.

use std::time::Duration;

use flexvolume::{Access, Options};
use flexvolume_os::filesystem::FsType;
use flexvolume_os::mount::MountFlag;

use super::address::{Address, Target};
use super::protocol::LONGEST_NAME;
use crate::error::RequestError;
use crate::request::{fs_type, refuse_unknown};

const SERVER: &str = "server";
const PORT: &str = "port";
const SOCKET: &str = "socket";
const EXPORT: &str = "export";
const FORMAT: &str = "format";
const PROTECTION: &str = "multiMountProtection";
const REQUEST_TIMEOUT: &str = "requestTimeout";
const RECONNECT_TIMEOUT: &str = "reconnectTimeout";
const MOUNT_OPTIONS: &str = "mountOptions";

/// The options of the driver.
pub(crate) const KNOWN: [&str; 9] =
    [SERVER, PORT, SOCKET, EXPORT, FORMAT, PROTECTION, REQUEST_TIMEOUT, RECONNECT_TIMEOUT, MOUNT_OPTIONS];

/// A request that takes longer has probably lost its server. A disk may sleep for ten seconds before it answers.
const DEFAULT_REQUEST_TIMEOUT: u64 = 30;
/// A server has restarted by then, or will not soon.
const DEFAULT_RECONNECT_TIMEOUT: u64 = 300;
/// A day.
const LONGEST_TIMEOUT: u64 = 86_400;

/// Whether a file system may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// What is on the export is somebody's, whatever it looks like.
    Never,
    /// The administrator says that the export is new.
    New,
}

/// Whether an ext4 must have its multi-mount protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    AsItIs,
    Required,
}

/// What a volume should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NbdRequest {
    /// What the host calls it.
    pub(crate) volume: String,
    pub(crate) target: Target,
    pub(crate) access: Access,
    pub(crate) fs_type: FsType,
    pub(crate) format: Format,
    pub(crate) protection: Protection,
    pub(crate) request_timeout: Duration,
    pub(crate) reconnect_timeout: Duration,
    pub(crate) mount_flags: Vec<MountFlag>,
}

impl NbdRequest {
    pub(crate) fn read(options: &Options) -> Result<Self, RequestError> {
        refuse_unknown(options, &KNOWN)?;
        let fs_type = fs_type(options)?;
        Ok(Self {
            volume: options.volume_name.clone(),
            target: Target { address: address(options)?, export: export(options)? },
            access: options.access,
            fs_type,
            format: format(options)?,
            protection: protection(options, fs_type)?,
            request_timeout: seconds(options, REQUEST_TIMEOUT, 1, DEFAULT_REQUEST_TIMEOUT)?,
            reconnect_timeout: seconds(options, RECONNECT_TIMEOUT, 0, DEFAULT_RECONNECT_TIMEOUT)?,
            mount_flags: mount_flags(options)?,
        })
    }
}

fn address(options: &Options) -> Result<Address, RequestError> {
    let refuse = |key, value: &str, why: String| RequestError::Value { key, value: value.to_owned(), why };
    let (server, port, socket) = (options.get(SERVER), options.get(PORT), options.get(SOCKET));
    match (server, port, socket) {
        (Some(_), _, Some(socket)) => {
            let why = format!("the server is at a socket or on the network: remove this or {SERVER:?}");
            Err(refuse(SOCKET, socket, why))
        }
        (None, Some(port), _) => Err(refuse(PORT, port, format!("it goes with the option {SERVER:?}"))),
        (None, None, Some(socket)) => Address::unix(socket).map_err(|why| refuse(SOCKET, socket, why)),
        (Some(server), None, None) => Address::parse(server).map_err(|why| refuse(SERVER, server, why)),
        (Some(server), Some(port), None) => {
            // Two errors in one: only what is wrong is named.
            let key = if Address::tcp(server, None).is_ok() { PORT } else { SERVER };
            let value = if key == PORT { port } else { server };
            Address::tcp(server, Some(port)).map_err(|why| refuse(key, value, why))
        }
        (None, None, None) => Err(RequestError::Missing {
            key: SERVER,
            meaning: "the server's name or address, such as \"storage.example\" or \"fd00::7\" (or \"socket\", a path on the node)",
        }),
    }
}

fn export(options: &Options) -> Result<String, RequestError> {
    let export = options.get(EXPORT).unwrap_or_default();
    let refuse = |why: String| {
        let value = export.chars().take(64).collect();
        Err(RequestError::Value { key: EXPORT, value, why })
    };
    match export {
        _ if export.contains('\0') => refuse("the name of an export has no NUL".to_owned()),
        _ if export.len() > LONGEST_NAME => refuse(format!("it has more than {LONGEST_NAME} bytes")),
        _ => Ok(export.to_owned()),
    }
}

fn format(options: &Options) -> Result<Format, RequestError> {
    match options.get(FORMAT) {
        None | Some("never") => Ok(Format::Never),
        Some("new") => Ok(Format::New),
        Some(other) => Err(RequestError::Value {
            key: FORMAT,
            value: other.to_owned(),
            why: "it is \"never\", or \"new\" for an export that nobody has used".to_owned(),
        }),
    }
}

fn protection(options: &Options, fs_type: FsType) -> Result<Protection, RequestError> {
    let refuse = |value: &str, why: &str| {
        Err(RequestError::Value { key: PROTECTION, value: value.to_owned(), why: why.to_owned() })
    };
    match options.get(PROTECTION) {
        None | Some("false") => Ok(Protection::AsItIs),
        Some("true") if fs_type == FsType::Ext4 => Ok(Protection::Required),
        Some(value @ "true") => refuse(value, "only ext4 has it: leave it out, or use the fsType ext4"),
        Some(other) => refuse(other, "it is \"true\" or \"false\""),
    }
}

fn seconds(options: &Options, key: &'static str, least: u64, default: u64) -> Result<Duration, RequestError> {
    let Some(text) = options.get(key) else { return Ok(Duration::from_secs(default)) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().ok().filter(|seconds| digits && (least..=LONGEST_TIMEOUT).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| RequestError::Value {
        key,
        value: text.to_owned(),
        why: format!("it is a number of seconds from {least} to {LONGEST_TIMEOUT}"),
    })
}

/// `nosuid` and `nodev` are always on: what a server serves gives nobody rights on the node.
fn mount_flags(options: &Options) -> Result<Vec<MountFlag>, RequestError> {
    let mut flags = vec![MountFlag::NoSuid, MountFlag::NoDev];
    let text = options.get(MOUNT_OPTIONS).unwrap_or_default();
    for word in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let flag = MountFlag::ALL.into_iter().find(|flag| flag.as_str() == word).ok_or_else(|| {
            RequestError::Value {
                key: MOUNT_OPTIONS,
                value: text.to_owned(),
                why: "it is a list of noexec, noatime, nodiratime (nosuid and nodev are always on)"
                    .to_owned(),
            }
        })?;
        if !flags.contains(&flag) {
            flags.push(flag);
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(user: &[(&str, &str)], fs_type: &str) -> Result<NbdRequest, RequestError> {
        let user = user.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let volume_name = "pvc-1".to_owned();
        NbdRequest::read(&Options { user, volume_name, fs_type: fs_type.to_owned(), ..Options::default() })
    }

    fn refusal(user: &[(&str, &str)]) -> String {
        read(user, "").unwrap_err().to_string()
    }

    #[test]
    fn little_has_to_be_said() {
        let request = read(&[("server", "Storage")], "").unwrap();
        assert_eq!(request.target.to_string(), "export \"\" of storage:10809");
        assert_eq!((request.format, request.protection), (Format::Never, Protection::AsItIs));
        assert_eq!(request.request_timeout, Duration::from_secs(30));
        assert_eq!(request.mount_flags, [MountFlag::NoSuid, MountFlag::NoDev]);
    }

    #[test]
    fn servers_are_written_in_several_ways() {
        for (user, address) in [
            (&[("server", "::1")][..], "[::1]:10809"),
            (&[("server", "[::1]"), ("port", "7")], "[::1]:7"),
            (&[("server", "10.0.0.1:7")], "10.0.0.1:7"),
            (&[("socket", "/run/nbd.sock")], "unix:/run/nbd.sock"),
        ] {
            assert_eq!(read(user, "").unwrap().target.address.to_string(), address);
        }
    }

    #[test]
    fn an_export_may_have_any_name_but_one_with_nul() {
        for name in ["a b", "new\nline", "comma,", "back\\slash", "ümläut", "../x", "-x", "\"'`$(x)"] {
            assert_eq!(read(&[("server", "s"), ("export", name)], "").unwrap().target.export, name);
        }
        assert!(refusal(&[("server", "s"), ("export", "a\0b")]).contains("NUL"));
        assert!(refusal(&[("server", "s"), ("export", &"x".repeat(4097))]).contains("4096"));
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_the_name_of_the_option() {
        assert!(refusal(&[]).starts_with("option \"server\" is required"));
        assert!(refusal(&[("server", "s"), ("socket", "/s")]).starts_with("option \"socket\""));
        assert!(refusal(&[("port", "7")]).starts_with("option \"port\""));
        assert!(refusal(&[("server", "s"), ("port", "70000")]).contains("from 1 to 65535"));
        assert!(refusal(&[("server", "s:1"), ("port", "7")]).starts_with("option \"server\""));
        assert!(refusal(&[("server", "s\n")]).starts_with("option \"server\""));
        assert!(refusal(&[("socket", "run/x")]).contains("absolute"));
        assert!(refusal(&[("server", "s"), ("exprot", "x")]).contains("did you mean \"export\"?"));
        assert!(refusal(&[("server", "s"), ("format", "yes")]).contains("\"new\""));
        let xfs = read(&[("server", "s"), ("multiMountProtection", "true")], "xfs").unwrap_err().to_string();
        assert!(xfs.contains("only ext4"), "{xfs}");
        for wrong in ["-1", "+5", "1s", "0", "86401", "1.5"] {
            assert!(refusal(&[("server", "s"), ("requestTimeout", wrong)]).contains("seconds"), "{wrong}");
        }
        read(&[("server", "s"), ("reconnectTimeout", "0")], "").unwrap();
    }

    #[test]
    fn no_mount_option_gives_rights_back() {
        let flags = read(&[("server", "s"), ("mountOptions", "noexec, nosuid")], "").unwrap().mount_flags;
        assert_eq!(flags, [MountFlag::NoSuid, MountFlag::NoDev, MountFlag::NoExec]);
        for wrong in ["suid", "dev", "exec", "context=x", "noexec,,noatime", "a\nb", "noexec noatime"] {
            assert!(refusal(&[("server", "s"), ("mountOptions", wrong)]).contains("noexec"), "{wrong}");
        }
    }
}
