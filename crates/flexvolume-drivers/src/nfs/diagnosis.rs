//! Is all that NFS needs on this node there, and what does a server offer?

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use flexvolume::{Finding, Options};
use flexvolume_os::reach::{self, Host};
use flexvolume_os::tools::{RPC_GSSD, RPC_STATD};

use super::locking::{self, Daemon};
use super::request::{CONNECTING, KEYS, NAMING, PORT};
use super::rpc::{MOUNT_3, NFS_3, NFS_4, PORT_MAPPER_PORT, Peer, RpcError};
use super::version::Version;
use crate::error::RequestError;
use crate::network::{Result, module, port};
use crate::request::refuse_unknown;

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// No more exports are shown.
const EXPORTS_SHOWN: usize = 20;

/// Everything that can be looked at; the options `address` (or `server`) and `port` name the server.
pub(super) fn diagnose(options: &Options) -> Result<Vec<Finding>> {
    let mut known = KEYS.to_vec();
    known.push("address");
    refuse_unknown(options, &known)?;
    let mut findings = vec![kernel("nfsv4", "4"), kernel("nfsv3", "3"), lock_daemon(), kerberos()];
    match options.get("address").or(options.get("server")) {
        None => {
            findings.push(Finding::good("server", "none was named: `flexvol doctor nfs ADDRESS` asks one"));
        }
        Some(text) => findings.extend(server(text, port(options, PORT)?)?),
    }
    Ok(findings)
}

fn kernel(name: &str, version: &str) -> Finding {
    let subject = format!("kernel, NFS version {version}");
    module(&subject, name, |what| {
        let remedy = "install the kernel's modules, or use a kernel with NFS";
        if version == "4" {
            Finding::problem(&*subject, what, remedy)
        } else {
            Finding::warning(&*subject, what, remedy)
        }
    })
}

fn lock_daemon() -> Finding {
    let subject = "locks of version 3";
    match locking::status_daemon() {
        Daemon::Runs => Finding::good(subject, "rpc.statd runs"),
        Daemon::Missing => {
            let place = if RPC_STATD.find().is_some() {
                "is installed, but does not run"
            } else {
                "is not installed"
            };
            let remedy = format!(
                "only mounts of version 3 with locks need it: start it (package {}), or use version 4",
                RPC_STATD.package
            );
            Finding::warning(subject, format!("rpc.statd {place}"), remedy)
        }
    }
}

fn kerberos() -> Finding {
    let subject = "Kerberos (sec=krb5)";
    match (RPC_GSSD.find(), Path::new("/etc/krb5.keytab").exists()) {
        (Some(_), true) => Finding::good(subject, "rpc.gssd and a keytab are there"),
        (Some(_), false) => {
            Finding::warning(subject, "there is no /etc/krb5.keytab", "only sec=krb5 needs it")
        }
        (None, _) => Finding::warning(
            subject,
            "rpc.gssd is not installed",
            format!("only sec=krb5 needs it: install the package {}", RPC_GSSD.package),
        ),
    }
}

fn server(text: &str, port: u16) -> std::result::Result<Vec<Finding>, RequestError> {
    let host = Host::parse(text).map_err(|error| RequestError::Value {
        key: "address",
        value: text.to_owned(),
        why: error.to_string(),
    })?;
    let subject = format!("server {host}");
    let problem =
        |cause: &dyn ToString, remedy: &str| Ok(vec![Finding::problem(&*subject, cause.to_string(), remedy)]);
    let addresses = match host.resolve(NAMING) {
        Ok(addresses) => addresses,
        Err(error) => return problem(&error, "correct the name or the node's DNS"),
    };
    let address = match reach::connect(&addresses, port, CONNECTING).map(|stream| stream.peer_addr()) {
        Ok(Ok(peer)) => peer.ip(),
        Ok(Err(error)) => return problem(&error, "try again"),
        Err(error) => return problem(&error, "start the server, or correct the address"),
    };
    let shown: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    let mut findings = vec![Finding::good(&*subject, format!("{} answers on port {port}", shown.join(", ")))];
    findings.push(versions(&subject, Peer { address, port, patience: PATIENCE }));
    findings.push(exports(&subject, address));
    findings.push(clock(&subject));
    Ok(findings)
}

/// The protocol has the times of files, which any client may have set, and no time of day.
fn clock(subject: &str) -> Finding {
    let what =
        "how far its clock is off cannot be known: no NFS server tells its time; sec=krb5 bears five minutes";
    Finding::good(subject, what)
}

fn versions(subject: &str, peer: Peer) -> Finding {
    let mut spoken: Vec<&str> = Vec::new();
    for version in Version::ALL {
        let speaks = match version.minor() {
            Some(minor) => peer.ping(NFS_4).is_ok() && matches!(peer.speaks_minor(minor), Ok(true)),
            None => peer.ping(NFS_3).is_ok(),
        };
        if speaks {
            spoken.push(version.as_str());
        }
    }
    if spoken.is_empty() {
        let remedy = "is it an NFS server, and has it started?";
        Finding::problem(subject, "it speaks no version of NFS that we know", remedy)
    } else {
        Finding::good(subject, format!("it speaks the versions {}", spoken.join(", ")))
    }
}

fn exports(subject: &str, address: IpAddr) -> Finding {
    let peer = |port| Peer { address, port, patience: PATIENCE };
    let listed = match peer(PORT_MAPPER_PORT).port_of(MOUNT_3) {
        Ok(Some(port)) => peer(port).exports(),
        Ok(None) => Err(RpcError::NoProgram),
        Err(error) => Err(error),
    };
    match listed {
        Ok(exports) => {
            let shown = exports.iter().take(EXPORTS_SHOWN).map(|export| {
                let to =
                    if export.groups.is_empty() { "everybody".to_owned() } else { export.groups.join(" ") };
                format!("{} ({to})", export.directory)
            });
            let shown = shown.collect::<Vec<_>>().join(", ");
            Finding::good(subject, format!("it exports {}: {shown}", exports.len()))
        }
        // A server of version 4 alone has nobody to ask.
        Err(error) => Finding::good(
            subject,
            format!(
                "what it exports cannot be known: only a mount daemon of version 3 tells, and there is none to ask ({error})"
            ),
        ),
    }
}
