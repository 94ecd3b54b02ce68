//! Erasing a volume in quarantine, piece by piece.

use std::time::{Duration, Instant};

use flexvolume_os::command::Command;
use flexvolume_os::failpoint::hit;
use flexvolume_os::runner::{Ended, Output, StartFailure};
use flexvolume_os::tools::BLKDISCARD;

use super::create::retag;
use super::error::{LvmError, Result};
use super::lookup::Found;
use super::name::{self, Place};
use super::node::{self, Node};
use super::tags::Record;
use super::tool::{Lvm, tail};
use crate::request::Erase;

/// Bytes that are erased in one go.
const PIECE: u64 = 1 << 30;

/// How long one piece may take.
const PIECE_DEADLINE: Duration = Duration::from_secs(300);

/// How long one call erases; the next one goes on where it stopped.
const BUDGET: Duration = Duration::from_secs(90);

/// Whether the blocks must not be given back as they are. A thin pool zeroes a block before it gives it to another volume.
pub(crate) fn is_needed(found: &Found) -> bool {
    found.record.erase != Erase::None && found.volume.pool.is_empty()
}

/// Erases the volume, which is in quarantine. What is done is put down when the time is up.
pub(crate) fn erase(lvm: Lvm<'_>, place: &Place, found: &Found) -> Result<()> {
    let begun = Instant::now();
    let total = found.volume.size;
    let mut done = found.record.erased.unwrap_or(0).min(total);
    let quarantined = place.renamed(&name::quarantine(&found.volume.uuid));
    let node = node::ensure_active(lvm, &quarantined, found)?;
    while done < total {
        let length = PIECE.min(total - done);
        erase_piece(lvm, found.record.erase, &node, done..done + length)?;
        done += length;
        hit("lvm.erased-piece");
        if begun.elapsed() > BUDGET && done < total {
            put_down(lvm, &quarantined, found, done)?;
            return Err(LvmError::Erasing { subject: place.to_string(), done, total });
        }
    }
    Ok(())
}

fn put_down(lvm: Lvm<'_>, quarantined: &Place, found: &Found, done: u64) -> Result<()> {
    let new = Record { erased: Some(done), ..found.record.clone() };
    retag(lvm, quarantined, &found.record, &new)
}

/// Discards the piece, or overwrites it with zeros; also where the disk cannot discard.
fn erase_piece(lvm: Lvm<'_>, how: Erase, node: &Node, piece: std::ops::Range<u64>) -> Result<()> {
    let run = |words: &[&str]| {
        let command = Command::new(BLKDISCARD.program(), PIECE_DEADLINE)
            .arguments(words)
            .arguments([
                "--offset",
                &piece.start.to_string(),
                "--length",
                &(piece.end - piece.start).to_string(),
            ])
            .argument(&node.path)
            .variable("LC_ALL", "C");
        lvm.runner.run(&command).map_err(|error| match error.reason {
            StartFailure::Missing => {
                LvmError::ToolMissing { program: BLKDISCARD.name, package: BLKDISCARD.package }
            }
            _ => error.into(),
        })
    };
    if how == Erase::Discard && run(&[])?.ended.is_success() {
        return Ok(());
    }
    let output = run(&["--zeroout"])?;
    if output.ended.is_success() { Ok(()) } else { Err(failed(node, &output)) }
}

fn failed(node: &Node, output: &Output) -> LvmError {
    let ended = match output.ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signaled(signal) => format!("signal {signal}"),
        Ended::TimedOut => format!("no answer within {}s", PIECE_DEADLINE.as_secs()),
    };
    let subject = node.path.display().to_string();
    LvmError::Command { command: BLKDISCARD.name, subject, ended, text: tail(output) }
}
