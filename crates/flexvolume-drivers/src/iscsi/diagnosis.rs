//! Is all that iSCSI needs on this node there, and in order? And what does a server offer?

use std::fs;
use std::path::Path;
use std::time::Duration;

use flexvolume::{Finding, Options};
use flexvolume_os::iscsi::State;
use flexvolume_os::tools::ISCSIADM;

use super::database::Database;
use super::error::Result;
use super::link::Node;
use super::session::reach;
use super::target::Portal;
use super::tool;
use crate::diagnosis::file_system_tools;
use crate::error::RequestError;
use crate::remote_disk::State as Contents;
use crate::request::refuse_unknown;

const ADDRESS: &str = "address";
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_TARGETS: usize = 20;
/// The socket at which iscsid takes orders, in the abstract name space.
const DAEMON: &str = "@ISCSIADM_ABSTRACT_NAMESPACE";

/// Everything that can be looked at; the option `address` names a server.
pub(crate) fn diagnose(node: Node<'_>, options: &Options) -> Result<Vec<Finding>> {
    refuse_unknown(options, &[ADDRESS])?;
    let mut findings =
        vec![kernel(node), module("sd_mod", "disks of SCSI"), program(node), daemon(), initiator()];
    findings.extend(database());
    findings.extend(file_system_tools(&*node.system.runner));
    findings.extend(volumes(node)?);
    if let Some(text) = options.get(ADDRESS) {
        let refuse = |why| RequestError::Value { key: ADDRESS, value: text.to_owned(), why };
        findings.extend(server(node, &Portal::parse(text).map_err(refuse)?));
    }
    Ok(findings)
}

fn kernel(node: Node<'_>) -> Finding {
    if node.sessions.kernel.is_there() {
        return Finding::good("iSCSI", "is loaded in the kernel");
    }
    module("iscsi_tcp", "iSCSI")
}

/// Looks without loading anything.
fn module(name: &str, subject: &str) -> Finding {
    if Path::new("/sys/module").join(name).exists() {
        return Finding::good(subject, "is loaded in the kernel");
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = Path::new("/lib/modules").join(release.trim());
    let file = format!("/{name}.ko");
    let listed = |list: &str| {
        fs::read_to_string(modules.join(list)).is_ok_and(|text| text.lines().any(|line| line.contains(&file)))
    };
    if listed("modules.builtin") {
        Finding::good(subject, "is built into the kernel")
    } else if listed("modules.dep") {
        let remedy = format!(
            "iscsid loads what it needs; to be sure, write {name} into a file of /etc/modules-load.d"
        );
        Finding::warning(subject, format!("is there and not loaded (module {name})"), remedy)
    } else {
        let what = format!("the module {name} is neither loaded nor found in {}", modules.display());
        Finding::problem(subject, what, "install the kernel's modules, or use a kernel with iSCSI")
    }
}

fn program(node: Node<'_>) -> Finding {
    let remedy = format!("install the package {}", ISCSIADM.package);
    match ISCSIADM.find() {
        None => Finding::problem("open-iscsi", "is not installed on this node", remedy),
        Some(_) => match tool::version(node.system) {
            Ok(version) => Finding::good("open-iscsi", format!("is there, version {version}")),
            Err(error) => Finding::problem("open-iscsi", error.to_string(), remedy),
        },
    }
}

fn daemon() -> Finding {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    if sockets.lines().any(|line| line.ends_with(DAEMON)) {
        Finding::good("iscsid", "takes orders")
    } else {
        let remedy = "start it with the node: `systemctl enable --now iscsid` (or iscsid.socket)";
        Finding::problem("iscsid", "does not run in this network namespace", remedy)
    }
}

fn initiator() -> Finding {
    let text = fs::read_to_string("/etc/iscsi/initiatorname.iscsi").unwrap_or_default();
    match text.lines().find_map(|line| line.strip_prefix("InitiatorName=")) {
        Some(name) => Finding::good("initiator", format!("targets know this node as {}", name.trim())),
        None => Finding::problem(
            "initiator",
            "/etc/iscsi/initiatorname.iscsi gives this node no name",
            "write `InitiatorName=` and the output of `iscsi-iname` into it, and restart iscsid",
        ),
    }
}

fn database() -> Option<Finding> {
    let error = Database::find().err()?;
    Some(Finding::problem("records of open-iscsi", error.to_string(), "install the package open-iscsi"))
}

fn volumes(node: Node<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (target, record) in node.shelf.all() {
        let subject = format!("volume {}", record.volume);
        if record.contents.as_ref().is_some_and(|contents| contents.state == Contents::Creating) {
            let what = format!("{target}: its file system was begun and not finished");
            findings.push(Finding::warning(&*subject, what, "mount it again on this node"));
        }
        let Some((session, disk)) = node.disk_of(&target, &record)? else { continue };
        let device = disk.name().ok().flatten().unwrap_or_default();
        let fence = match &record.link.pass {
            Some(pass) if record.link.reserved => format!("reserved with the key {}", pass.key()),
            _ => "not reserved".to_owned(),
        };
        findings.push(match session.state {
            State::LoggedIn => Finding::good(subject, format!("{target} is /dev/{device}, {fence}")),
            State::Recovering => Finding::problem(
                subject,
                format!("{target} has lost its server (/dev/{device}); what is read and written waits"),
                "is the server up? Its session comes back by itself",
            ),
            State::GivenUp => Finding::problem(
                subject,
                format!(
                    "{target} has lost its server for too long (/dev/{device}); reading and writing fails"
                ),
                "restart the pods that use it once the server is up",
            ),
        });
    }
    Ok(findings)
}

fn server(node: Node<'_>, portal: &Portal) -> Vec<Finding> {
    let subject = format!("server {portal}");
    let problem = |text: String| {
        vec![Finding::problem(&*subject, text, "correct what the message names, and look again")]
    };
    let address = match reach(std::slice::from_ref(portal), PATIENCE) {
        Ok(address) => address,
        Err(error) => return problem(error.to_string()),
    };
    let mut findings = vec![Finding::good(&*subject, format!("{address} takes connections"))];
    findings.push(match tool::discover(node.system, address) {
        Ok(offers) if offers.is_empty() => Finding::warning(
            &*subject,
            "offers this node no target",
            "is this node's initiator on the target's list?",
        ),
        Ok(offers) => {
            let shown =
                offers.iter().take(MOST_TARGETS).map(|offer| format!("{} at {}", offer.target, offer.portal));
            Finding::good(&*subject, format!("offers {}", shown.collect::<Vec<_>>().join(", ")))
        }
        Err(error) => Finding::warning(
            &*subject,
            format!("does not say what it offers: {error}"),
            "a target may be used that is not listed; its administrator knows its name",
        ),
    });
    findings
}
