//! The checks as data.

use serde::Serialize;

use super::stage::{Outcome, Trial};
use super::{contract, faults, leftovers, life, mounts, secrets};

/// How far a driver can be relied on; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A volume can be used with flexvol, whatever it has to put up with.
    WorksUnderFlexvol,
    /// It can also be used under Kubernetes, which puts up with nothing.
    WorksUnderKubernetes,
    /// It also survives repetition, crashes, hostile input and bad surroundings, and leaves nothing behind.
    Robust,
}

impl Level {
    /// All of them, lowest first.
    pub const ALL: [Level; 3] = [Level::WorksUnderFlexvol, Level::WorksUnderKubernetes, Level::Robust];

    /// As it is written on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::WorksUnderFlexvol => "works-under-flexvol",
            Level::WorksUnderKubernetes => "works-under-kubernetes",
            Level::Robust => "robust",
        }
    }
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name, stable from version to version.
    pub id: &'static str,
    /// The level that it belongs to.
    pub level: Level,
    /// What it demands of a driver.
    pub demands: &'static str,
    /// Why, and where the fact comes from.
    pub why: &'static str,
    pub(super) work: fn(&mut Trial<'_>) -> Outcome,
}

const fn check(
    id: &'static str,
    level: Level,
    words: [&'static str; 2],
    work: fn(&mut Trial<'_>) -> Outcome,
) -> Check {
    let [demands, why] = words;
    Check { id, level, demands, why, work }
}

use Level::{Robust, WorksUnderFlexvol, WorksUnderKubernetes};

/// All checks, in the order in which they are made: those after `life` need a volume that lives.
pub const CHECKS: &[Check] = &[
    check(
        "init",
        WorksUnderFlexvol,
        ["`init` answers Success", "A driver whose `init` fails is not registered (`probe.go`)."],
        contract::init,
    ),
    check(
        "init-strict",
        WorksUnderKubernetes,
        [
            "Kubernetes can read the answer to `init`",
            "Both streams are one pipe and must hold exactly one JSON document (`driver-call.go`); `\"capabilities\": null` ends its process.",
        ],
        contract::init_strict,
    ),
    check(
        "init-capabilities",
        Robust,
        [
            "`init` names its capabilities, `attach` among them, in known keys with boolean values",
            "What is absent has a default, and that of `attach` is true (rule 7); a misspelt key is ignored in silence (rule 12).",
        ],
        contract::init_capabilities,
    ),
    check(
        "init-repeated",
        Robust,
        [
            "`init` answers the same every time and changes nothing",
            "It runs at every change of the plugin directory, on nodes and controllers alike (rule 21).",
        ],
        contract::init_repeated,
    ),
    check(
        "unknown-verb",
        WorksUnderKubernetes,
        [
            "A verb that the driver does not know is answered Not supported",
            "New versions add call-outs, and only this answer makes the host use its default (`driver-call.go`; rule 4).",
        ],
        contract::unknown_verb,
    ),
    check(
        "missing-arguments",
        Robust,
        [
            "A call-out without its arguments ends by itself and is no Success",
            "A host of another version passes other arguments (rule 15).",
        ],
        contract::missing_arguments,
    ),
    check(
        "broken-options",
        Robust,
        [
            "Options that are not JSON are a Failure",
            "A volume made with options that could not be read has the wrong size, place or password (rule 14).",
        ],
        contract::broken_options,
    ),
    check(
        "volume-name",
        WorksUnderKubernetes,
        [
            "`getvolumename` answers the same name every time",
            "Kubernetes asks some 20 times in a pod's life and takes another name for another volume (`attacher.go`).",
        ],
        contract::volume_name,
    ),
    check(
        "unmount-of-nothing",
        Robust,
        [
            "`unmount`, `unmountdevice` and `detach` of what is not there succeed",
            "The answer to a call can get lost, and then the call is repeated (rule 8).",
        ],
        mounts::unmount_of_nothing,
    ),
    check(
        "clean-replies",
        Robust,
        [
            "Every reply is one JSON object on standard output, with nothing beside it, standard error silent, the exit status in agreement",
            "Text beside the reply makes it unreadable for Kubernetes (rules 1, 2, 3, 5, 6, 12, 13).",
        ],
        life::clean_replies,
    ),
    check(
        "life",
        WorksUnderFlexvol,
        [
            "A volume can be attached, mounted, written, read, unmounted and detached",
            "The life of a volume as flexvol lives it: options escaped, streams apart, replies read with all 21 rules.",
        ],
        life::under_flexvol,
    ),
    check(
        "life-strict",
        WorksUnderKubernetes,
        [
            "The same when it is called and read as Kubernetes does",
            "Exact bytes of the options, one pipe for both streams, a call that ends when its last holder closes that pipe (`driver-call.go`, `mounter.go`).",
        ],
        life::under_kubernetes,
    ),
    check(
        "is-attached",
        WorksUnderKubernetes,
        [
            "After `attach`, `isattached` answers `attached: true`",
            "Otherwise the controller attaches again within a tenth of a second (`attacher.go`).",
        ],
        life::is_attached,
    ),
    check(
        "is-attached-orders",
        Robust,
        ["`isattached` takes its arguments in both orders", "Hosts of 2017 pass the node first (rule 15)."],
        life::is_attached_orders,
    ),
    check(
        "mount-dir-emptied",
        WorksUnderKubernetes,
        [
            "After `unmount` the mount dir is empty or gone",
            "The host removes it when it is empty; otherwise the pod never goes away (`unmounter.go`; rule 18).",
        ],
        mounts::dir_emptied,
    ),
    check(
        "repeated-calls",
        Robust,
        [
            "Each call made twice has the effect of one",
            "Hosts repeat after time-outs and restarts; two mounts on one directory are never both unmounted (rule 8).",
        ],
        life::repeated,
    ),
    check(
        "mount-dir-missing",
        Robust,
        [
            "`mount` into a directory that is gone works or fails, and `unmount` of it succeeds",
            "Many drivers and hosts remove the directory (rule 18).",
        ],
        mounts::dir_missing,
    ),
    check(
        "mount-dir-symlink",
        Robust,
        [
            "`mount` and `unmount` never follow a symlink at the mount dir",
            "Whoever can write beside it would have a mount made, or files removed, anywhere on the node.",
        ],
        mounts::dir_symlink,
    ),
    check(
        "read-only",
        Robust,
        [
            "A volume asked for read-only cannot be written",
            "Kubernetes leaves it to the driver to honour `kubernetes.io/readwrite` (`mounter.go`).",
        ],
        mounts::read_only,
    ),
    check(
        "odd-options",
        Robust,
        [
            "White space, quotes, backslashes, line ends, shell syntax and Unicode in options change nothing else",
            "Shell drivers split words and expand escapes, and lose all options or run them (rule 14).",
        ],
        contract::odd_options,
    ),
    check(
        "expansion",
        Robust,
        [
            "`expandvolume` and `expandfs` to the size that the volume has keep it as it is",
            "A host repeats an expansion that it has lost track of (`expander.go`).",
        ],
        life::expansion,
    ),
    check(
        "reboot",
        Robust,
        [
            "When the mounts are gone behind the driver's back, the next calls work",
            "After a power cut, records are there and mounts are not (rule 8).",
        ],
        faults::reboot,
    ),
    check(
        "killed",
        Robust,
        [
            "Killed at any moment, a call that is repeated completes what was begun",
            "Kubelet restarts, memory runs out, deadlines pass.",
        ],
        faults::killed,
    ),
    check(
        "missing-tools",
        Robust,
        [
            "Without the programs that it needs, a driver fails, and says so",
            "A Success without a mount has pods write onto the node's own disk (rules 9, 19).",
        ],
        faults::missing_tools,
    ),
    check(
        "concurrent-volumes",
        Robust,
        ["Two volumes can be brought up at the same time", "Kubelet works on many pods at once (rule 20)."],
        faults::concurrent_volumes,
    ),
    check(
        "concurrent-calls",
        Robust,
        [
            "The same call made twice at the same time leaves one volume, whole",
            "Controller and kubelet can call within milliseconds of each other, in two processes (rule 20).",
        ],
        faults::concurrent_calls,
    ),
    check(
        "secret-arguments",
        Robust,
        [
            "No program that the driver starts has a secret among its arguments",
            "Every user of the node can read `/proc/PID/cmdline`.",
        ],
        secrets::arguments,
    ),
    check(
        "secret-traces",
        Robust,
        [
            "No secret is printed, nor left in a file outside the driver's own directories",
            "Kubernetes logs what a driver prints, and events show it to users (`driver-call.go`).",
        ],
        secrets::traces,
    ),
    check(
        "output-held",
        WorksUnderKubernetes,
        [
            "Nothing that a call leaves running holds its output open",
            "The call ends for Kubernetes only when all have closed it, be it never (rule 10).",
        ],
        leftovers::output_held,
    ),
    check(
        "leaves-processes",
        Robust,
        [
            "After a volume's life no process of the driver runs",
            "What stays keeps files and mounts busy, and adds up.",
        ],
        leftovers::processes,
    ),
    check(
        "leaves-mounts",
        Robust,
        [
            "After a volume's life nothing is mounted that was not before",
            "A mount that stays keeps its device busy and the directory undeletable.",
        ],
        leftovers::mounts,
    ),
    check(
        "leaves-loop-devices",
        Robust,
        [
            "After a volume's life no loop device is left",
            "A loop device keeps the space of a file that is deleted.",
        ],
        leftovers::loop_devices,
    ),
    check(
        "leaves-files",
        Robust,
        [
            "Nothing is left in the working directory, the directory for temporary files, or beside the mount dir",
            "A host takes directories beside the mount dir for volumes (rule 18).",
        ],
        leftovers::files,
    ),
];

/// The table of all checks as a document has it.
#[must_use]
pub fn document() -> String {
    let mut text = "| check | level | what it demands | why |\n|---|---|---|---|\n".to_owned();
    for check in CHECKS {
        let level = check.level.name();
        text.push_str(&format!("| `{}` | {level} | {} | {} |\n", check.id, check.demands, check.why));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_differ_and_are_plain() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.id).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    }

    #[test]
    fn the_document_has_the_table() {
        let document_on_disk = include_str!("../../../../docs/conformance.md");
        assert!(
            document_on_disk.contains(&document()),
            "docs/conformance.md is out of date; the table is now:\n{}",
            document()
        );
    }
}
