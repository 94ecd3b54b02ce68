//! The fault matrix: how much of it is run, and the document of its results.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::suite::{Length, documents};

/// The test program that has the matrix.
pub(super) const PROGRAM: &str = "faults";

/// Parts of the document, in its order; the test program writes them.
const PARTS: [&str; 3] = ["lvm.md", "loop.md", "power-cut.md"];

/// The variable that says in how many of its ways a fault is brought about at most.
pub(super) const WAYS: &str = "FLEXVOL_FAULTS_WAYS";

/// That variable, where nobody sets it: all ways of all cells take many hours in an emulated machine.
pub(super) fn ways(length: Length) -> (String, String) {
    let ways = match length {
        Length::Quick => "1",
        Length::Full => "2",
    };
    (WAYS.to_owned(), ways.to_owned())
}

/// What stands above them.
const PREFACE: &str = "\
# What was tried to break a volume

Each cell is a test: a step in the life of a volume, a fault, and what must hold. `cargo xtask vm --full` runs them all in a
virtual machine with device-mapper and writes this page; a number in brackets says in how many ways the fault was brought
about: two of its ways at most, taken from all over them; more with `FLEXVOL_FAULTS_WAYS=20 cargo xtask vm --full`. `cargo
xtask test` runs those of the loop drivers on any Linux, and `cargo xtask vm` some of the others. A run of some of the cells
leaves what earlier ones have found of the others.

In every cell, besides what it says: no byte of a previous owner is visible in the volume, no byte that was written and
synced is lost, nothing that belongs to somebody else has changed, and no device, mount, file or volume is left over.
*Converges*: the call may fail; when the fault is gone, the next call succeeds, and so does one more. *Refuses*: the call
fails, says why and what to do, and changes nothing; when the fault is gone, the next call succeeds. *Succeeds*: the fault
makes no difference.

The steps are call-outs. Create, striped, raid1 and thin are `waitforattach` of a volume that is not there; copy and snapshot, of
one that begins as a copy of another; mount is `mountdevice`; grow, `expandfs` of a mounted volume; unmount, `unmountdevice`;
deletevolume is `deletevolume` of a volume that is erased with zeros; publish and delete are `mount` and `unmount` of the
ephemeral driver, which make and remove a volume. Every creation includes making the file system.
";

/// What stands above the parts of the other document, which are there once their drivers have been tried.
const NETWORK_PREFACE: &str = "\
# What was tried to break a mount of a server

Each cell is a test: a step in the life of a mount, what becomes of its server, and what must hold. `cargo xtask vm --full` runs
them all in a virtual machine against real servers on a second host and writes this page; in brackets stand the number of ways in
which it was tried, and how long the longest call took in that machine, which is emulated. `cargo xtask vm` runs some of them.

In every cell, besides what it says: each call comes back within 30 s, an unmount of a silent server within 10 s; the mount table is
what the reply says; no process of the driver is left, in whatever state; a secret that is passed is in no argument or environment of
any other process, in no answer and in no record; another mount of the same server stays and serves again; when the fault is gone,
every next call succeeds, and no record is left. *Refuses*: the call fails and says why. *Succeeds*: it succeeds in spite of the fault.
*Converges*: either.

The steps: mount, with the fault there before; unmount, of a mount that was well before the fault, once beside another mount of the
same file system and once alone; return: the fault comes and goes while it is mounted, and the mount must serve again, by itself or
after `heal`.
";

/// Parts of that document, in its order.
const NETWORK_PARTS: [&str; 4] = ["network-nfs.md", "network-cifs.md", "network-nbd.md", "network-iscsi.md"];

/// The cells that run, as the beginnings of their names. The ones of loop files run on this machine, too.
pub(super) fn filters(length: Length) -> &'static str {
    match length {
        Length::Quick => "lvm/create lvm/delete",
        Length::Full => "",
    }
}

/// Puts the parts together.
pub(super) fn write_document(results: &Path) -> Result<()> {
    let mut text = PREFACE.to_owned();
    for part in PARTS {
        let file = results.join(part);
        let part = fs::read_to_string(&file).with_context(|| format!("no run has written {part} yet"))?;
        text += "\n";
        text += &part;
    }
    let file = documents().join("faults-lvm.md");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Puts the parts of the drivers of remote storage together, of those that have been tried.
pub(super) fn write_network_document(results: &Path) -> Result<()> {
    let parts = NETWORK_PARTS.iter().filter_map(|part| fs::read_to_string(results.join(part)).ok());
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() {
        return Ok(());
    }
    let text = parts.iter().fold(NETWORK_PREFACE.to_owned(), |text, part| text + "\n" + part);
    let file = documents().join("faults-network.md");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}
