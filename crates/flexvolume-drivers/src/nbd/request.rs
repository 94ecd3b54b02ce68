//! The options of `nbd`, typed.

use std::time::Duration;

use flexvolume::Options;

use super::address::{Address, Target};
use super::protocol::LONGEST_NAME;
use crate::error::RequestError;
use crate::remote_disk::{FORMAT, FileSystemRequest, MOUNT_OPTIONS, PROTECTION, Wanted};
use crate::request::refuse_unknown;

const SERVER: &str = "server";
const PORT: &str = "port";
const SOCKET: &str = "socket";
const EXPORT: &str = "export";
const REQUEST_TIMEOUT: &str = "requestTimeout";
const RECONNECT_TIMEOUT: &str = "reconnectTimeout";

/// The options of the driver.
pub(crate) const KNOWN: [&str; 9] =
    [SERVER, PORT, SOCKET, EXPORT, FORMAT, PROTECTION, REQUEST_TIMEOUT, RECONNECT_TIMEOUT, MOUNT_OPTIONS];

/// A request that takes longer has probably lost its server. A disk may sleep for ten seconds before it answers.
const DEFAULT_REQUEST_TIMEOUT: u64 = 30;
/// A server has restarted by then, or will not soon.
const DEFAULT_RECONNECT_TIMEOUT: u64 = 300;
/// A day.
const LONGEST_TIMEOUT: u64 = 86_400;

/// What a volume should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NbdRequest {
    /// What the host calls it.
    pub(crate) volume: String,
    pub(crate) target: Target,
    pub(crate) file_system: FileSystemRequest,
    pub(crate) request_timeout: Duration,
    pub(crate) reconnect_timeout: Duration,
}

impl NbdRequest {
    pub(crate) fn read(options: &Options) -> Result<Self, RequestError> {
        refuse_unknown(options, &KNOWN)?;
        Ok(Self {
            volume: options.volume_name.clone(),
            target: Target { address: address(options)?, export: export(options)? },
            file_system: FileSystemRequest::read(options)?,
            request_timeout: seconds(options, REQUEST_TIMEOUT, 1, DEFAULT_REQUEST_TIMEOUT)?,
            reconnect_timeout: seconds(options, RECONNECT_TIMEOUT, 0, DEFAULT_RECONNECT_TIMEOUT)?,
        })
    }

    /// What `attach` asks for.
    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted::new(&self.target, &self.volume, self.file_system.access)
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

#[cfg(test)]
mod tests {
    use flexvolume_os::mount::MountFlag;

    use super::*;
    use crate::remote_disk::request::{Format, Protection};

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
        assert_eq!(
            (request.file_system.format, request.file_system.protection),
            (Format::Never, Protection::AsItIs)
        );
        assert_eq!(request.request_timeout, Duration::from_secs(30));
        assert_eq!(request.file_system.mount_flags, [MountFlag::NoSuid, MountFlag::NoDev]);
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
        let flags =
            read(&[("server", "s"), ("mountOptions", "noexec, nosuid")], "").unwrap().file_system.mount_flags;
        assert_eq!(flags, [MountFlag::NoSuid, MountFlag::NoDev, MountFlag::NoExec]);
        for wrong in ["suid", "dev", "exec", "context=x", "noexec,,noatime", "a\nb", "noexec noatime"] {
            assert!(refusal(&[("server", "s"), ("mountOptions", wrong)]).contains("noexec"), "{wrong}");
        }
    }
}
