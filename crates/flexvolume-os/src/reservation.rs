//! Persistent reservations of SCSI disks: who may write, kept by the storage itself.
//!
//! Every node registers a key of its own with a disk that it uses, and one of them reserves the disk for all that are
//! registered. From then on the storage refuses every write of whoever is not registered, however alive a node is that
//! was thought dead: [`preempt`] throws its key out, after what it had under way has ended.
//!
//! The kernel's `IOC_PR_*` (Linux `include/uapi/linux/pr.h`) do this on an ordinary block device. They have a trap: a
//! conflict is no error of the call but a **positive** return value, the status of the device, so whoever looks for -1
//! takes a refusal for a success. Here it is [`ReservationError::Conflict`].

use std::fs::File;
use std::io;
use std::num::NonZeroU64;

use rustix::io::Errno;
use thiserror::Error;

use crate::kernel::{self, PrPreempt, PrRegistration, PrReservation, ScsiRead};
use crate::scsi;

/// `PR_WRITE_EXCLUSIVE_REG_ONLY`: all may read, all who are registered may write.
const REGISTRANTS_WRITE: u32 = 3;
/// `PR_FL_IGNORE_KEY`: register whatever key this node had before.
const IGNORE_KEY: u32 = 1;
/// Service actions of `PERSISTENT RESERVE IN`.
const READ_KEYS: u8 = 0;
const READ_RESERVATION: u8 = 1;
/// Room for a thousand keys.
const LONGEST_ANSWER: u16 = 8192;
const CHECK_CONDITION: u8 = 2;
/// A sense key: the disk does not know the command.
const ILLEGAL_REQUEST: u8 = 5;
/// `RESERVATION CONFLICT`, in the lowest byte of what the kernel answers: 6.1 puts more above it, later kernels do not.
const CONFLICT: i32 = 0x18;

/// What a node is known by at a disk; never zero, which means "no key" on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(NonZeroU64);

impl Key {
    /// `None` for zero.
    #[must_use]
    pub fn new(value: u64) -> Option<Self> {
        NonZeroU64::new(value).map(Self)
    }

    /// The number on the wire.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0.get()
    }
}

/// Why a reservation was not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReservationError {
    /// The device has no persistent reservations, or its storage does not offer them.
    #[error("{step}: the disk has no persistent reservations")]
    Unsupported {
        /// The step, such as `register with the disk`.
        step: &'static str,
    },
    /// Another key holds the disk, or ours is not registered any more.
    #[error("{step}: the disk is reserved for another node")]
    Conflict {
        /// The step.
        step: &'static str,
    },
    /// The disk answered something else.
    #[error("{step}: the disk answered with status {status:#x}")]
    Status {
        /// The step.
        step: &'static str,
        /// As the kernel returns it: a status of SCSI in the lowest byte.
        status: i32,
    },
    /// The disk's answer is none.
    #[error("{step}: its answer makes no sense")]
    Nonsense {
        /// The step.
        step: &'static str,
    },
    /// The call failed.
    #[error("{step}: {source}")]
    Call {
        /// The step.
        step: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// Registers this node's key, whatever it was before; again is no change.
///
/// # Errors
/// [`ReservationError::Unsupported`] where the storage has no reservations; never a conflict, since anybody may register.
pub fn register(device: &File, key: Key) -> Result<(), ReservationError> {
    let wanted = PrRegistration { old_key: 0, new_key: key.value(), flags: IGNORE_KEY, padding: 0 };
    judge("register with the disk", kernel::pr_register(device, wanted))
}

/// Takes this node's key away; the last key of a reservation takes the reservation with it.
///
/// # Errors
/// [`ReservationError::Conflict`] when the key is not registered: another node has preempted it.
pub fn unregister(device: &File, key: Key) -> Result<(), ReservationError> {
    let wanted = PrRegistration { old_key: key.value(), new_key: 0, flags: 0, padding: 0 };
    judge("take the key off the disk", kernel::pr_register(device, wanted))
}

/// Lets nobody write but who is registered; the key must be. Again is no change.
///
/// # Errors
/// [`ReservationError::Conflict`] when another key has reserved the disk, or this one is not registered.
pub fn reserve(device: &File, key: Key) -> Result<(), ReservationError> {
    let wanted = PrReservation { key: key.value(), kind: REGISTRANTS_WRITE, flags: 0 };
    judge("reserve the disk", kernel::pr_reserve(device, wanted))
}

/// Gives the reservation up and stays registered.
///
/// # Errors
/// [`ReservationError::Conflict`] when the key is not registered.
pub fn release(device: &File, key: Key) -> Result<(), ReservationError> {
    let wanted = PrReservation { key: key.value(), kind: REGISTRANTS_WRITE, flags: 0 };
    judge("release the disk", kernel::pr_release(device, wanted))
}

/// Throws another node's key out and takes its reservation over; what that node had under way is ended first, and every
/// later write of it fails. The own key must be registered.
///
/// The caller must know that the other node is not to use the disk any more.
///
/// # Errors
/// [`ReservationError::Conflict`] when the other key is not registered, or the own one is not.
pub fn preempt(device: &File, own: Key, other: Key) -> Result<(), ReservationError> {
    // Named from the caller's view, not the disk's: the kernel sends the old key as the one that acts.
    let wanted =
        PrPreempt { old_key: own.value(), new_key: other.value(), kind: REGISTRANTS_WRITE, flags: 0 };
    judge("take the disk over from another node", kernel::pr_preempt_abort(device, wanted))
}

/// All keys that are registered with the disk.
///
/// # Errors
/// [`ReservationError::Unsupported`] where the storage has no reservations.
pub fn keys(device: &File) -> Result<Vec<Key>, ReservationError> {
    let step = "read the keys of the disk";
    let mut space = vec![0; usize::from(LONGEST_ANSWER)];
    let answer = ask(step, device, (READ_KEYS, &mut space))?;
    parse_keys(answer).ok_or(ReservationError::Nonsense { step })
}

/// The key that holds the reservation, `None` when the disk is not reserved.
///
/// # Errors
/// As [`keys`].
pub fn holder(device: &File) -> Result<Option<Key>, ReservationError> {
    let step = "read the reservation of the disk";
    let mut space = [0; 64];
    let answer = ask(step, device, (READ_RESERVATION, &mut space))?;
    parse_keys(answer.get(..16).unwrap_or(answer))
        .map(|keys| keys.first().copied())
        .ok_or(ReservationError::Nonsense { step })
}

/// `PERSISTENT RESERVE IN`, for which Linux has had no call of its own until 6.19.
fn ask<'a>(
    step: &'static str,
    device: &File,
    (action, space): (u8, &'a mut [u8]),
) -> Result<&'a [u8], ReservationError> {
    let length = u16::try_from(space.len()).unwrap_or(LONGEST_ANSWER);
    let [high, low] = length.to_be_bytes();
    let mut command = [0x5e, action, 0, 0, 0, 0, 0, high, low, 0];
    let space = space.get_mut(..usize::from(length)).unwrap_or_default();
    let failed = |source: io::Error| match Errno::from_io_error(&source) {
        Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL) => ReservationError::Unsupported { step },
        _ => ReservationError::Call { step, source },
    };
    let read = scsi::read(device, &mut command, space).map_err(failed)?;
    match read {
        ScsiRead { status: 0, transport: 0, length, .. } => Ok(space.get(..length).unwrap_or_default()),
        ScsiRead { status: CHECK_CONDITION, sense: Some(ILLEGAL_REQUEST), .. } => {
            Err(ReservationError::Unsupported { step })
        }
        ScsiRead { status: 0, transport, .. } => {
            Err(ReservationError::Status { step, status: i32::from(transport) << 16 })
        }
        ScsiRead { status, .. } => Err(ReservationError::Status { step, status: i32::from(status) }),
    }
}

/// A count of bytes at 4, and so many bytes of keys from 8 on (SPC-4, 6.15). A key of zero is none.
fn parse_keys(answer: &[u8]) -> Option<Vec<Key>> {
    let (header, rest) = answer.split_first_chunk::<8>()?;
    let [.., a, b, c, d] = *header;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    let (keys, _) = rest.get(..length.min(rest.len()))?.as_chunks::<8>();
    Some(keys.iter().filter_map(|key| Key::new(u64::from_be_bytes(*key))).collect())
}

fn judge(step: &'static str, outcome: io::Result<i32>) -> Result<(), ReservationError> {
    match outcome {
        Ok(0) => Ok(()),
        Ok(status) if status & 0xff == CONFLICT => Err(ReservationError::Conflict { step }),
        Ok(status) => Err(ReservationError::Status { step, status }),
        Err(source) => Err(match Errno::from_io_error(&source) {
            Some(Errno::OPNOTSUPP | Errno::NOTTY) => ReservationError::Unsupported { step },
            // The block layer's word for a conflict (`BLK_STS_RESV_CONFLICT`).
            Some(Errno::BADE) => ReservationError::Conflict { step },
            _ => ReservationError::Call { step, source },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_zero() {
        assert_eq!(Key::new(0), None);
        assert_eq!(Key::new(7).unwrap().value(), 7);
    }

    #[test]
    fn a_positive_return_value_is_no_success() {
        assert!(judge("x", Ok(0)).is_ok());
        // What Linux 6.1 returned on a conflict, and what later kernels return.
        for status in [280, 0x18] {
            assert!(matches!(judge("x", Ok(status)), Err(ReservationError::Conflict { .. })), "{status}");
        }
        for status in [2, 0x000e_0000, 0x0001_0000] {
            assert!(matches!(judge("x", Ok(status)), Err(ReservationError::Status { .. })), "{status}");
        }
        let bad_exchange = io::Error::from(Errno::BADE);
        assert!(matches!(judge("x", Err(bad_exchange)), Err(ReservationError::Conflict { .. })));
    }

    #[test]
    fn keys_are_read_as_far_as_they_go() {
        let bytes = |length: u32, keys: &[u64]| {
            let mut bytes = [&[0, 0, 0, 9][..], &length.to_be_bytes()].concat();
            bytes.extend(keys.iter().flat_map(|key| key.to_be_bytes()));
            bytes
        };
        let found =
            |bytes: &[u8]| parse_keys(bytes).map(|keys| keys.into_iter().map(Key::value).collect::<Vec<_>>());
        assert_eq!(found(&bytes(16, &[1, 2, 3])), Some(vec![1, 2]));
        assert_eq!(found(&bytes(800, &[1, 0])), Some(vec![1]));
        assert_eq!(found(&bytes(u32::MAX, &[7])), Some(vec![7]));
        assert_eq!(found(&bytes(0, &[7])), Some(vec![]));
        assert_eq!(found(&bytes(12, &[7, 8])), Some(vec![7]));
        assert_eq!(found(&[0; 7]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn what_is_no_disk_has_no_reservations() {
        let file = tempfile::tempfile().unwrap();
        let (own, other) = (Key::new(1).unwrap(), Key::new(2).unwrap());
        for outcome in [
            register(&file, own),
            unregister(&file, own),
            reserve(&file, own),
            release(&file, own),
            preempt(&file, own, other),
        ] {
            assert!(matches!(outcome, Err(ReservationError::Unsupported { .. })), "{outcome:?}");
        }
        assert!(matches!(keys(&file), Err(ReservationError::Unsupported { .. })));
        assert!(matches!(holder(&file), Err(ReservationError::Unsupported { .. })));
    }

    #[test]
    fn the_structures_are_the_kernels() {
        assert_eq!(size_of::<PrRegistration>(), 24);
        assert_eq!(size_of::<PrReservation>(), 16);
        assert_eq!(size_of::<PrPreempt>(), 24);
    }
}
