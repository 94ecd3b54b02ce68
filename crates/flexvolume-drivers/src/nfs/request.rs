//! Options, typed.

use std::ffi::CString;
use std::net::IpAddr;
use std::time::Duration;

use flexvolume::Options;
use flexvolume_os::mount;
use flexvolume_os::network_mount::{
    FileSystem, Making, NetworkMount, NetworkMountError, Setting, Subdirectory,
};
use flexvolume_os::reach::{self, Host, Unreachable};

use super::explanation;
use super::locking::{self, Daemon};
use super::mount_options::{given, versions};
use super::rpc::{NFS_3, PORT_MAPPER_PORT, Peer};
use super::version::Version;
use crate::error::RequestError;
use crate::network::{Given, Grants, NetworkError, Reached, Request, Result};
use crate::request::refuse_unknown;

/// The port of NFSv4.
pub(super) const PORT: u16 = 2049;
/// How long a name may take.
pub(super) const NAMING: Duration = Duration::from_secs(4);
/// How long a connection may take.
pub(super) const CONNECTING: Duration = Duration::from_secs(3);

/// The keys of a manifest.
pub(super) const KEYS: [&str; 17] = [
    "server",
    "share",
    "path",
    "vers",
    "port",
    "protocol",
    "sec",
    "recovery",
    "nconnect",
    "timeo",
    "retrans",
    "atime",
    "readonly",
    "subdirectory",
    "subdirectoryMode",
    "subdirectoryOwner",
    "mountOptions",
];

/// What a manifest asks for.
#[derive(Debug, Clone)]
pub(super) struct NfsRequest {
    pub(super) server: Host,
    /// Absolute, without `.` and `..`.
    pub(super) export: String,
    pub(super) subdirectory: Option<Subdirectory>,
    /// The best one first.
    pub(super) versions: Vec<Version>,
    pub(super) port: Option<u16>,
    pub(super) given: Given,
}

impl NfsRequest {
    pub(super) fn read(options: &Options, grants: &Grants) -> std::result::Result<Self, RequestError> {
        refuse_unknown(options, &KEYS)?;
        fs_type(options)?;
        let mut given = given(options, grants)?;
        let versions = versions(&mut given)?;
        let port = given.take("port").flatten().and_then(|port| port.parse().ok());
        Ok(Self {
            server: server(options)?,
            export: export(options)?,
            subdirectory: subdirectory(options)?,
            versions,
            port,
            given,
        })
    }

    fn file_system(&self, version: Version, address: IpAddr, locks: Daemon) -> Result<FileSystem> {
        let mut settings =
            vec![Setting::text("vers", version.as_str())?, Setting::text("addr", address.to_string())?];
        let own_proto = self.given.settings.contains_key("proto");
        if !own_proto {
            settings.push(Setting::text("proto", if address.is_ipv6() { "tcp6" } else { "tcp" })?);
        }
        if let Some(port) = self.port {
            settings.push(Setting::text("port", port.to_string())?);
        }
        if version == Version::V3 {
            settings.push(Setting::text("mountproto", if address.is_ipv6() { "tcp6" } else { "tcp" })?);
            if locks == Daemon::Missing && !self.says_how_to_lock() {
                return Err(explanation::no_locks(&self.source()));
            }
        }
        for (name, value) in &self.given.settings {
            let only_v3 = matches!(&**name, "mountport" | "acl" | "noacl");
            if version == Version::V3 || !only_v3 {
                settings.push(match value {
                    None => Setting::flag(name)?,
                    Some(value) => Setting::text(name, value.as_bytes())?,
                });
            }
        }
        let source = self.source();
        // A source is a setting like any other, with the kernel's limit for them.
        Setting::text("source", source.as_bytes())?;
        let source = CString::new(source).unwrap_or_default();
        Ok(FileSystem { fs_type: version.fs_type().to_owned(), source, settings, log_words: Vec::new() })
    }

    fn says_how_to_lock(&self) -> bool {
        ["nolock", "lock", "local_lock"].iter().any(|word| self.given.settings.contains_key(*word))
    }

    fn attempts(&self, versions: &[Version], address: IpAddr) -> Result<Vec<FileSystem>> {
        let mut attempts = Vec::new();
        for version in versions {
            let last_hope = attempts.is_empty();
            let locks = match version {
                Version::V3 if !self.says_how_to_lock() => locking::status_daemon(),
                _ => Daemon::Runs,
            };
            match self.file_system(*version, address, locks) {
                Ok(file_system) => attempts.push(file_system),
                // Better no version 3 than one whose locks hang.
                Err(NetworkError::Refused { .. }) if !last_hope => {}
                Err(error) => return Err(error),
            }
        }
        Ok(attempts)
    }

    /// The address of the server, and the versions for which something listens there.
    fn find(&self) -> Result<(IpAddr, Vec<Version>)> {
        let unreachable = |cause| NetworkError::Unreachable { source_name: self.source(), cause };
        let addresses = self.server.resolve(NAMING).map_err(unreachable)?;
        let port = self.port.unwrap_or(PORT);
        match reach::connect(&addresses, port, CONNECTING) {
            Ok(stream) => {
                let peer =
                    stream.peer_addr().map_or_else(|_| addresses.first().copied(), |peer| Some(peer.ip()));
                let address = peer.ok_or_else(|| unreachable(nowhere()))?;
                Ok((address, self.versions.clone()))
            }
            // A server of version 3 alone may listen anywhere.
            Err(Unreachable::Refused { address })
                if self.port.is_none() && self.versions.contains(&Version::V3) =>
            {
                let ip = address.ip();
                let peer = Peer { address: ip, port: PORT_MAPPER_PORT, patience: CONNECTING };
                match peer.port_of(NFS_3) {
                    Ok(Some(_)) => Ok((ip, vec![Version::V3])),
                    Ok(None) | Err(_) => Err(unreachable(Unreachable::Refused { address })),
                }
            }
            Err(cause) => Err(unreachable(cause)),
        }
    }
}

fn nowhere() -> Unreachable {
    Unreachable::NoName { name: String::new(), why: "it has no address".to_owned() }
}

impl Request for NfsRequest {
    fn source(&self) -> String {
        format!("{}:{}", self.server, self.export)
    }

    fn identity(&self) -> String {
        let attributes = self.given.attributes;
        let mut text = self.source();
        if let Some(subdirectory) = &self.subdirectory {
            text += &format!(", sub-directory {}", subdirectory.path());
        }
        if attributes.access == mount::Access::ReadOnly {
            text += ", read-only";
        }
        for (name, value) in &self.given.settings {
            text +=
                &format!(", {name}{}", value.as_ref().map(|value| format!("={value}")).unwrap_or_default());
        }
        text
    }

    fn reach(&self) -> Result<Reached> {
        /// EPROTONOSUPPORT and EOPNOTSUPP: the server has no such version.
        const GO_ON: [i32; 2] = [93, 95];
        let (address, versions) = self.find()?;
        let mount = NetworkMount {
            attempts: self.attempts(&versions, address)?,
            go_on: GO_ON.to_vec(),
            attributes: self.given.attributes,
            subdirectory: self.subdirectory.clone(),
            replaces: 0,
        };
        Ok(Reached { address, mount, apart: None })
    }

    fn explain(&self, error: NetworkMountError, reached: &Reached) -> NetworkError {
        explanation::of(self, error, reached)
    }
}

pub(super) fn refuse(key: &'static str, value: &str, why: &str) -> RequestError {
    RequestError::Value { key, value: value.to_owned(), why: why.to_owned() }
}

fn fs_type(options: &Options) -> std::result::Result<(), RequestError> {
    match &*options.fs_type {
        "" | "nfs" | "nfs4" => Ok(()),
        other => Err(refuse("kubernetes.io/fsType", other, "this driver mounts nfs: leave `fsType` out")),
    }
}

fn server(options: &Options) -> std::result::Result<Host, RequestError> {
    let text = options.get("server").ok_or(RequestError::Missing {
        key: "server",
        meaning: "the name or address of the server, such as \"files.example.com\"",
    })?;
    Host::parse(text).map_err(|error| refuse("server", text, &error.to_string()))
}

/// `share` and `path` are the words of different drivers for one thing.
fn export(options: &Options) -> std::result::Result<String, RequestError> {
    let (key, text) = match (options.get("share"), options.get("path")) {
        (Some(share), None) => ("share", share),
        (None, Some(path)) => ("path", path),
        (Some(share), Some(path)) if share == path => ("share", share),
        (Some(_), Some(path)) => {
            return Err(refuse("path", path, "it says another directory than \"share\""));
        }
        (None, None) => {
            return Err(RequestError::Missing {
                key: "share",
                meaning: "the directory that the server exports, such as \"/export/data\"",
            });
        }
    };
    let inner = text.trim_matches('/');
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    if !inner.is_empty() && !inner.split('/').all(plain) {
        return Err(refuse(key, text, "it must be a path without `.`, `..` and empty parts"));
    }
    if inner.contains(char::is_control) {
        return Err(refuse(key, text, "it has a control character"));
    }
    Ok(format!("/{inner}"))
}

fn subdirectory(options: &Options) -> std::result::Result<Option<Subdirectory>, RequestError> {
    let (mode, owner) = (options.get("subdirectoryMode"), options.get("subdirectoryOwner"));
    let Some(text) = options.get("subdirectory") else {
        return match mode
            .map(|mode| ("subdirectoryMode", mode))
            .or(owner.map(|owner| ("subdirectoryOwner", owner)))
        {
            Some((key, value)) => {
                Err(refuse(key, value, "there is no \"subdirectory\" that it could be for"))
            }
            None => Ok(None),
        };
    };
    let why = "it must be a relative path without `.`, `..`, empty parts and control characters";
    let plain =
        (!text.starts_with('/') && !text.contains(char::is_control)).then(|| Subdirectory::parse(text));
    let subdirectory = plain.flatten().ok_or_else(|| refuse("subdirectory", text, why))?;
    let Some(mode) = mode else {
        return match owner {
            Some(owner) => Err(refuse(
                "subdirectoryOwner",
                owner,
                "only what is made, with \"subdirectoryMode\", gets an owner",
            )),
            None => Ok(Some(subdirectory)),
        };
    };
    let octal = mode.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let bits = u32::from_str_radix(mode, 8).ok().filter(|bits| octal && *bits <= 0o7777);
    let bits =
        bits.ok_or_else(|| refuse("subdirectoryMode", mode, "it must be an octal mode, such as \"0770\""))?;
    let (owner, group) = owner.map(ids).transpose()?.unwrap_or_default();
    Ok(Some(subdirectory.made(Making { mode: bits, owner, group })))
}

/// `1000:1000`, `1000`, `:1000`.
fn ids(text: &str) -> std::result::Result<(Option<u32>, Option<u32>), RequestError> {
    let wrong = || refuse("subdirectoryOwner", text, "it must be UID:GID in numbers, such as \"1000:1000\"");
    let id = |text: &str| match text {
        "" => Ok(None),
        // The last one means nobody in particular.
        _ => text.parse().ok().filter(|id| *id != u32::MAX).map(Some).ok_or_else(wrong),
    };
    let (owner, group) = text.split_once(':').unwrap_or((text, ""));
    Ok((id(owner)?, id(group)?))
}

#[cfg(test)]
mod tests;
