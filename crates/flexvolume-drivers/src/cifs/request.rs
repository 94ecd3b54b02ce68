//! Options, typed.

use std::ffi::CString;
use std::net::IpAddr;
use std::time::Duration;

use flexvolume::Options;
use flexvolume_os::mount;
use flexvolume_os::network_mount::{FileSystem, NetworkMount, NetworkMountError, Setting, Subdirectory};
use flexvolume_os::reach::{self, Host, Unreachable};

use super::credentials::Credentials;
use super::explanation;
use super::mount_options::given;
use super::unc::{Unc, UncError};
use crate::error::RequestError;
use crate::network::{Given, Grants, NetworkError, Reached, Request, Result};
use crate::request::refuse_unknown;

/// The port of SMB over TCP.
pub(super) const PORT: u16 = 445;
/// How long a name may take.
pub(super) const NAMING: Duration = Duration::from_secs(4);
/// How long a connection may take.
pub(super) const CONNECTING: Duration = Duration::from_secs(3);

/// The keys of a manifest. Those of other drivers for the same are understood.
pub(super) const KEYS: [&str; 22] = [
    "server",
    "share",
    "networkPath",
    "source",
    "subdirectory",
    "mountOptions",
    "mountoptions",
    "opts",
    "vers",
    "port",
    "sec",
    "domain",
    "guest",
    "seal",
    "uid",
    "gid",
    "fileMode",
    "dirMode",
    "cache",
    "recovery",
    "readonly",
    // Of juliohm1978/kubernetes-cifs-volumedriver: how the password goes to a program that is not used here.
    "passwdMethod",
];

/// What a manifest asks for.
#[derive(Debug, Clone)]
pub(super) struct CifsRequest {
    /// Its directory, if it has one, is the sub-directory.
    pub(super) unc: Unc,
    pub(super) credentials: Credentials,
    pub(super) port: Option<u16>,
    pub(super) given: Given,
}

impl CifsRequest {
    pub(super) fn read(options: &Options, grants: &Grants) -> std::result::Result<Self, RequestError> {
        for key in ["username", "user", "password", "pass", "credentials"] {
            if options.user.contains_key(key) {
                let remedy = "user and password belong into the Secret that `secretRef` names".to_owned();
                return Err(RequestError::Unknown { key: key.to_owned(), remedy });
            }
        }
        refuse_unknown(options, &KEYS)?;
        match &*options.fs_type {
            "" | "cifs" | "smb" | "smb3" => {}
            other => {
                let why = "this driver mounts cifs: leave `fsType` out";
                return Err(refuse("kubernetes.io/fsType", other, why));
            }
        }
        let mut given = given(options, grants)?;
        let credentials = Credentials::read(options, &mut given)?;
        let port = given.take("port").flatten().and_then(|port| port.parse().ok());
        Ok(Self { unc: place(options)?, credentials, port, given })
    }

    fn file_system(&self, address: IpAddr) -> Result<FileSystem> {
        let mut settings = self.credentials.settings()?;
        // The address that answered, so that the kernel asks nobody for the name.
        settings.push(Setting::text("ip", address.to_string())?);
        if let Some(port) = self.port {
            settings.push(Setting::text("port", port.to_string())?);
        }
        for (name, value) in &self.given.settings {
            settings.push(match value {
                None => Setting::flag(name)?,
                Some(value) => Setting::text(name, value.as_bytes())?,
            });
        }
        let source = self.source();
        // A source is a setting like any other, with the kernel's limit for them.
        Setting::text("source", source.as_bytes())?;
        Ok(FileSystem {
            fs_type: "cifs".to_owned(),
            source: CString::new(source).unwrap_or_default(),
            settings,
            log_words: vec!["CIFS".to_owned()],
        })
    }
}

impl Request for CifsRequest {
    fn source(&self) -> String {
        self.unc.source()
    }

    fn identity(&self) -> String {
        let mut text = format!("{} as {}", self.source(), self.credentials.who());
        if let Some(directory) = &self.unc.directory {
            text += &format!(", sub-directory {}", directory.path());
        }
        if self.given.attributes.access == mount::Access::ReadOnly {
            text += ", read-only";
        }
        if let Some(port) = self.port {
            text += &format!(", port={port}");
        }
        for (name, value) in &self.given.settings {
            text += &format!(", {name}");
            if let Some(value) = value {
                text += &format!("={value}");
            }
        }
        text
    }

    fn port(&self) -> Option<u16> {
        self.port
    }

    fn reach(&self) -> Result<Reached> {
        /// As numbered on every machine that Linux runs on but MIPS, PA-RISC, SPARC and Alpha.
        const EHOSTDOWN: i32 = 112;
        let unreachable = |cause| NetworkError::Unreachable { source_name: self.source(), cause };
        let addresses = self.unc.server.resolve(NAMING).map_err(unreachable)?;
        let stream =
            reach::connect(&addresses, self.port.unwrap_or(PORT), CONNECTING).map_err(unreachable)?;
        let peer = stream.peer_addr().map_or_else(|_| addresses.first().copied(), |peer| Some(peer.ip()));
        let address = peer.ok_or_else(|| unreachable(nowhere(&self.unc.server)))?;
        // A connection that is being mended, or whose user's password has changed, is in the way of every new mount of
        // that user; one of its own does without it.
        let shared = self.file_system(address)?;
        let mut apart = shared.clone();
        apart.settings.push(Setting::flag("nosharesock")?);
        let mount = |attempts| NetworkMount {
            attempts,
            go_on: vec![EHOSTDOWN],
            attributes: self.given.attributes,
            subdirectory: self.unc.directory.clone(),
            replaces: 0,
        };
        let apart_only = mount(vec![apart.clone()]);
        Ok(Reached { address, mount: mount(vec![shared, apart]), apart: Some(apart_only) })
    }

    fn explain(&self, error: NetworkMountError, reached: &Reached) -> NetworkError {
        explanation::of(self, error, reached)
    }
}

fn nowhere(server: &Host) -> Unreachable {
    Unreachable::NoName { name: server.to_string(), why: "it has no address".to_owned() }
}

pub(super) fn refuse(key: &'static str, value: &str, why: &str) -> RequestError {
    RequestError::Value { key, value: value.to_owned(), why: why.to_owned() }
}

/// The share, in one of the three ways in which drivers say it, and the sub-directory, which `share` may have behind it.
fn place(options: &Options) -> std::result::Result<Unc, RequestError> {
    let mut ways = Vec::new();
    for key in ["networkPath", "source"] {
        if let Some(text) = options.get(key) {
            ways.push((key, Unc::parse(text).map_err(|error| wrong(key, text, &error))?));
        }
    }
    if let Some(text) = options.get("server") {
        let server = Host::parse(text).map_err(|error| refuse("server", text, &error.to_string()))?;
        let share = options.get("share").ok_or(RequestError::Missing {
            key: "share",
            meaning: "the name of the share, such as \"data\"",
        })?;
        ways.push(("share", Unc::of(server, share).map_err(|error| wrong("share", share, &error))?));
    } else if let Some(share) = options.get("share") {
        return Err(refuse("share", share, "\"server\" is missing: the name or address of the server"));
    }
    let mut ways = ways.into_iter();
    let Some((_, unc)) = ways.next() else {
        return Err(RequestError::Missing {
            key: "networkPath",
            meaning: "the share, such as \"//files.example.com/data\"; or give \"server\" and \"share\"",
        });
    };
    if let Some((key, other)) = ways.find(|(_, other)| *other != unc) {
        return Err(refuse(key, &other.source(), "another option names another share"));
    }
    let directory = subdirectory(options, unc.directory.as_ref())?;
    Ok(Unc { directory, ..unc })
}

fn wrong(key: &'static str, text: &str, error: &UncError) -> RequestError {
    refuse(key, text, &error.to_string())
}

/// Of what the share's name has behind it, and of the option of its own.
fn subdirectory(
    options: &Options,
    front: Option<&Subdirectory>,
) -> std::result::Result<Option<Subdirectory>, RequestError> {
    let Some(text) = options.get("subdirectory") else { return Ok(front.cloned()) };
    let slashes = text.replace('\\', "/");
    let why = "it must be a relative path without `.`, `..`, empty parts and control characters";
    let plain = !slashes.starts_with('/') && !slashes.contains(char::is_control);
    let whole = match front {
        Some(front) => format!("{}/{slashes}", front.path()),
        None => slashes,
    };
    let parsed = plain.then(|| Subdirectory::parse(&whole)).flatten();
    parsed.map(Some).ok_or_else(|| refuse("subdirectory", text, why))
}

#[cfg(test)]
mod tests;
