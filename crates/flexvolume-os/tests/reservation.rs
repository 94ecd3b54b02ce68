//! Persistent reservations of a real disk, which two initiators see.
//!
//! `FLEXVOL_TEST_RESERVATION_DISKS=/dev/sdX:/dev/sdY` names the two views of one empty disk.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop at the first surprise")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use flexvolume_os::reservation::{self, Key, ReservationError};
use rustix::fs::OFlags;

const DISKS: &str = "FLEXVOL_TEST_RESERVATION_DISKS";

/// Writes that reach the disk or fail: nothing stays in memory.
fn open(disk: &str) -> File {
    let flags = i32::try_from(OFlags::DSYNC.bits()).unwrap();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(disk).unwrap()
}

fn write(disk: &File, byte: u8) -> io::Result<()> {
    disk.write_all_at(&[byte; 4096], 0)
}

#[test]
fn a_node_that_was_preempted_writes_no_more() {
    let Ok(disks) = std::env::var(DISKS) else {
        eprintln!("skipped: a_node_that_was_preempted_writes_no_more: needs {DISKS}");
        return;
    };
    let (first, second) = disks.split_once(':').unwrap();
    let (old, new) = (open(first), open(second));
    let (old_key, new_key) = (Key::new(0xa1).unwrap(), Key::new(0xb2).unwrap());

    for _ in 0..2 {
        reservation::register(&old, old_key).unwrap();
        reservation::reserve(&old, old_key).unwrap();
    }
    write(&old, 1).unwrap();

    // Registered, the second may write, so it registers only when it is to take the disk over.
    write(&new, 2).unwrap_err();
    reservation::register(&new, new_key).unwrap();
    let refused = reservation::reserve(&new, new_key).unwrap_err();
    assert!(matches!(refused, ReservationError::Conflict { .. }), "{refused}");

    assert_eq!(reservation::holder(&new).unwrap(), Some(old_key));
    assert_eq!(reservation::keys(&new).unwrap(), [old_key, new_key]);

    reservation::preempt(&new, new_key, old_key).unwrap();
    assert_eq!(reservation::holder(&new).unwrap(), Some(new_key));
    assert_eq!(reservation::keys(&new).unwrap(), [new_key]);
    write(&new, 3).unwrap();
    write(&old, 4).unwrap_err();
    let refused = reservation::unregister(&old, old_key).unwrap_err();
    assert!(matches!(refused, ReservationError::Conflict { .. }), "{refused}");

    reservation::release(&new, new_key).unwrap();
    reservation::unregister(&new, new_key).unwrap();
    write(&old, 5).unwrap();
}
