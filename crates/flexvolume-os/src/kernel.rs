//! The system calls that no crate offers safely.
#![allow(unsafe_code, reason = "the one file that may: every block says why it is sound")]

use std::ffi::{CStr, c_int, c_long, c_uint, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use linux_raw_sys::general::{
    __NR_fchmodat2, __NR_fcntl, __NR_listmount, __NR_statmount, AT_SYMLINK_NOFOLLOW, F_RDLCK, F_SETLEASE,
    F_SETSIG, F_UNLCK, MNT_ID_REQ_SIZE_VER0, mnt_id_req,
};
use linux_raw_sys::loop_device::{self, loop_config, loop_info64};
use rustix::fs::RawMode;
use rustix::io::{Errno, FdFlags};
use rustix::io_uring::{IoringRegisterOp, io_uring_params, io_uring_register, io_uring_setup};
use rustix::ioctl;
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

/// Leaves the namespaces that `flags` name; never the descriptor table, whatever the caller asks for.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the only hazard of unshare(2) is CLONE_FILES, which takes descriptors away from other threads; the mask
    // keeps it out.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }.map_err(io::Error::from)
}

/// Has the kernel keep a file open until the descriptor that comes back is closed, and close it in a thread of its own then
/// (it is registered with a ring of `io_uring`, Linux 5.5, which is taken apart by a worker).
pub(crate) fn keep_open(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut parameters = io_uring_params::default();
    // SAFETY: no flag is set, so that no other descriptor is named; the ring is never entered and its memory never mapped.
    let ring = unsafe { io_uring_setup(1, &mut parameters) }?;
    let files = [file.as_raw_fd()];
    // SAFETY: the kernel reads one descriptor number, and takes a reference of its own to the file.
    unsafe { io_uring_register(&ring, IoringRegisterOp::RegisterFiles, files.as_ptr().cast(), 1) }?;
    Ok(ring)
}

/// Marks a descriptor as not to be inherited. A number that is not open is an error (EBADF) and does nothing.
pub(crate) fn close_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: the number was just read from the process's own table and is used for one fcntl(2). Should another thread
    // have closed it meanwhile, the call fails or marks that thread's new descriptor, which std opens marked anyway.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(descriptor.as_fd(), FdFlags::CLOEXEC).map_err(io::Error::from)
}

/// The signals that came since they were asked for last, a bit each.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn remember(number: c_int) {
    CAUGHT.fetch_or(1u64.wrapping_shl(number.cast_unsigned()), Ordering::Relaxed);
}

/// From now on a signal is remembered instead of ending the process; one that is ignored stays ignored.
pub(crate) fn catch_signal(number: Signal) -> io::Result<()> {
    const IGNORE: usize = 1;
    const ERROR: usize = usize::MAX;
    unsafe extern "C" {
        /// signal(3) of the C library that std links anyway; restarts interrupted calls.
        fn signal(number: c_int, handler: usize) -> usize;
    }
    let number = number.as_raw();
    // SAFETY: the handler touches one atomic and nothing else, so it may run at any time on any thread.
    match unsafe { signal(number, remember as *const () as usize) } {
        ERROR => Err(io::Error::last_os_error()),
        // SAFETY: puts back what was there.
        IGNORE if unsafe { signal(number, IGNORE) } == ERROR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whether the signal came since this was asked last.
pub(crate) fn take_caught(number: Signal) -> bool {
    let bit = 1u64.wrapping_shl(number.as_raw().cast_unsigned());
    CAUGHT.fetch_and(!bit, Ordering::Relaxed) & bit != 0
}

/// `LOOP_CTL_GET_FREE` on `/dev/loop-control`: the number of a loop device that is free now.
pub(crate) fn loop_get_free(control: &File) -> io::Result<u32> {
    // SAFETY: the operation takes no argument; see `GetFree`.
    let number = unsafe { ioctl::ioctl(control, GetFree) }?;
    u32::try_from(number).map_err(|_| Errno::RANGE.into())
}

/// `LOOP_CONFIGURE` (Linux 5.8): backing file, flags and limits in one step.
pub(crate) fn loop_configure(device: &File, config: loop_config) -> io::Result<()> {
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`, which linux-raw-sys takes from the kernel's own headers.
    let call = unsafe { ioctl::Setter::<{ loop_device::LOOP_CONFIGURE }, loop_config>::new(config) };
    // SAFETY: as above; a device that is no loop device answers ENOTTY.
    unsafe { ioctl::ioctl(device, call) }.map_err(io::Error::from)
}

/// `LOOP_GET_STATUS64`: what is attached; ENXIO when nothing is.
pub(crate) fn loop_status(device: &File) -> io::Result<loop_info64> {
    // SAFETY: LOOP_GET_STATUS64 fills a whole `struct loop_info64` when it succeeds, and only then is it read.
    let call = unsafe { ioctl::Getter::<{ loop_device::LOOP_GET_STATUS64 }, loop_info64>::new() };
    // SAFETY: as above.
    unsafe { ioctl::ioctl(device, call) }.map_err(io::Error::from)
}

/// `LOOP_CLR_FD`: detach.
pub(crate) fn loop_detach(device: &File) -> io::Result<()> {
    // SAFETY: the operation takes no argument and touches no memory of ours.
    unsafe { ioctl::ioctl(device, ioctl::NoArg::<{ loop_device::LOOP_CLR_FD }>::new()) }
        .map_err(io::Error::from)
}

/// `LOOP_SET_CAPACITY`: read the size of the backing file again.
pub(crate) fn loop_set_capacity(device: &File) -> io::Result<()> {
    // SAFETY: the operation takes no argument and touches no memory of ours.
    unsafe { ioctl::ioctl(device, ioctl::NoArg::<{ loop_device::LOOP_SET_CAPACITY }>::new()) }
        .map_err(io::Error::from)
}

/// The one operation that answers by its return value.
struct GetFree;

// SAFETY: LOOP_CTL_GET_FREE takes no argument, writes no memory, and returns the number.
unsafe impl ioctl::Ioctl for GetFree {
    type Output = ioctl::IoctlOutput;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> ioctl::Opcode {
        loop_device::LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        output: ioctl::IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(output)
    }
}

/// The keys of `IOC_PR_REGISTER`: `struct pr_registration` of Linux `include/uapi/linux/pr.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrRegistration {
    pub(crate) old_key: u64,
    pub(crate) new_key: u64,
    pub(crate) flags: u32,
    pub(crate) padding: u32,
}

/// `struct pr_reservation`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrReservation {
    pub(crate) key: u64,
    pub(crate) kind: u32,
    pub(crate) flags: u32,
}

/// `struct pr_preempt`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrPreempt {
    pub(crate) old_key: u64,
    pub(crate) new_key: u64,
    pub(crate) kind: u32,
    pub(crate) flags: u32,
}

/// One of the `IOC_PR_*`, which read a structure and answer by their return value too: a positive one is the status that
/// the device has given.
struct PersistentReservation<const NUMBER: u8, T>(T);

// SAFETY: the kernel reads one `T`, whose size is in the opcode, and writes nothing.
unsafe impl<const NUMBER: u8, T> ioctl::Ioctl for PersistentReservation<NUMBER, T> {
    type Output = ioctl::IoctlOutput;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> ioctl::Opcode {
        ioctl::opcode::write::<T>(b'p', NUMBER)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(
        output: ioctl::IoctlOutput,
        _: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(output)
    }
}

/// `struct sg_io_hdr` of Linux `include/scsi/sg.h`.
#[repr(C)]
struct ScsiCommand {
    interface: c_int,
    direction: c_int,
    command_length: u8,
    sense_space: u8,
    scatter: u16,
    data_space: c_uint,
    data: *mut c_void,
    command: *mut c_void,
    sense: *mut c_void,
    /// Milliseconds.
    timeout: c_uint,
    flags: c_uint,
    identifier: c_int,
    user: *mut c_void,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_length: u8,
    host_status: u16,
    driver_status: u16,
    missing: c_int,
    duration: c_uint,
    information: c_uint,
}

impl ScsiCommand {
    // SAFETY: numbers and pointers, and zero is one of each.
    const EMPTY: Self = unsafe { std::mem::zeroed() };
}

/// What came of a command that reads from a SCSI disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScsiRead {
    /// The disk's; zero is good.
    pub(crate) status: u8,
    /// The way to the disk: zero unless the command did not get there.
    pub(crate) transport: u16,
    /// The sense key, if the disk has given one.
    pub(crate) sense: Option<u8>,
    /// Bytes that were read.
    pub(crate) length: usize,
}

/// `SG_IO`, reading.
struct ScsiReading<'a>(ScsiCommand, std::marker::PhantomData<&'a mut [u8]>);

// SAFETY: the kernel reads and writes one `ScsiCommand`, and what it points to within the lengths that it holds.
unsafe impl ioctl::Ioctl for ScsiReading<'_> {
    type Output = ScsiCommand;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> ioctl::Opcode {
        0x2285
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(
        _: ioctl::IoctlOutput,
        answer: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        // SAFETY: it is what `as_ptr` gave.
        Ok(unsafe { answer.cast::<ScsiCommand>().read() })
    }
}

/// Has a SCSI disk carry out a command that reads, within `patience`.
pub(crate) fn scsi_read(
    device: &File,
    command: &mut [u8],
    (space, patience): (&mut [u8], Duration),
) -> io::Result<ScsiRead> {
    let mut sense = [0_u8; 32];
    let wanted = ScsiCommand {
        interface: c_int::from(b'S'),
        // `SG_DXFER_FROM_DEV`.
        direction: -3,
        command_length: u8::try_from(command.len()).map_err(io::Error::other)?,
        sense_space: 32,
        data_space: c_uint::try_from(space.len()).map_err(io::Error::other)?,
        data: space.as_mut_ptr().cast(),
        command: command.as_mut_ptr().cast(),
        sense: sense.as_mut_ptr().cast(),
        timeout: c_uint::try_from(patience.as_millis()).unwrap_or(c_uint::MAX),
        ..ScsiCommand::EMPTY
    };
    // SAFETY: command, sense and space live until the call has returned, and their lengths are in the structure; what is
    // no SCSI device answers ENOTTY or EINVAL.
    let answer = unsafe { ioctl::ioctl(device, ScsiReading(wanted, std::marker::PhantomData)) }?;
    let missing = usize::try_from(answer.missing).unwrap_or_default();
    let [format, _, key, ..] = sense;
    // Sense data of the descriptor format has its key one byte earlier.
    let key = if format & 0x7f >= 0x72 { sense.get(1).copied().unwrap_or_default() } else { key };
    Ok(ScsiRead {
        status: answer.status,
        transport: answer.host_status,
        sense: (answer.sense_length >= 3).then_some(key & 0xf),
        length: space.len().saturating_sub(missing),
    })
}

/// `IOC_PR_REGISTER`: the status of the device, 0 for success.
pub(crate) fn pr_register(device: &File, registration: PrRegistration) -> io::Result<c_int> {
    // SAFETY: see `PersistentReservation`; a device without reservations answers EOPNOTSUPP or ENOTTY.
    Ok(unsafe { ioctl::ioctl(device, PersistentReservation::<200, _>(registration)) }?)
}

/// `IOC_PR_RESERVE`.
pub(crate) fn pr_reserve(device: &File, reservation: PrReservation) -> io::Result<c_int> {
    // SAFETY: as above.
    Ok(unsafe { ioctl::ioctl(device, PersistentReservation::<201, _>(reservation)) }?)
}

/// `IOC_PR_RELEASE`.
pub(crate) fn pr_release(device: &File, reservation: PrReservation) -> io::Result<c_int> {
    // SAFETY: as above.
    Ok(unsafe { ioctl::ioctl(device, PersistentReservation::<202, _>(reservation)) }?)
}

/// `IOC_PR_PREEMPT_ABORT`.
pub(crate) fn pr_preempt_abort(device: &File, preemption: PrPreempt) -> io::Result<c_int> {
    // SAFETY: as above.
    Ok(unsafe { ioctl::ioctl(device, PersistentReservation::<204, _>(preemption)) }?)
}

unsafe extern "C" {
    /// syscall(2) of the C library that std links anyway, for calls that it has no name for yet.
    fn syscall(number: c_long, ...) -> c_long;
}

/// `listmount` (Linux 6.8): the ids of this namespace's mounts that are greater than `after`, ascending, as many as
/// there is room for.
pub(crate) fn list_mounts(after: u64, ids: &mut [u64]) -> io::Result<usize> {
    /// `LSMT_ROOT`: all mounts that are reached from the root.
    const ALL: u64 = u64::MAX;
    let request = mount_request(ALL, after);
    // SAFETY: the kernel reads the whole request, whose size is in it, and writes no more than `ids.len()` numbers.
    let count = unsafe {
        syscall(c_long::from(__NR_listmount), &raw const request, ids.as_mut_ptr(), ids.len(), 0_usize)
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// `statmount` (Linux 6.8): fills in a `struct statmount` and its strings as far as `wanted` names them, or as much of
/// the structure as there is room for when no strings are wanted. Too little room for the strings is EOVERFLOW.
pub(crate) fn stat_mount(id: u64, wanted: u32, answer: &mut [u8]) -> io::Result<()> {
    let request = mount_request(id, wanted.into());
    // SAFETY: the kernel reads the whole request, whose size is in it, and writes no more than `answer.len()` bytes.
    let result = unsafe {
        syscall(c_long::from(__NR_statmount), &raw const request, answer.as_mut_ptr(), answer.len(), 0_usize)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn mount_request(mnt_id: u64, param: u64) -> mnt_id_req {
    mnt_id_req { size: MNT_ID_REQ_SIZE_VER0, spare: 0, mnt_id, param, mnt_ns_id: 0 }
}

/// `fchmodat2` (Linux 6.6): the permissions of a name in a directory; those of a symlink are EOPNOTSUPP.
pub(crate) fn chmod_at(directory: BorrowedFd<'_>, name: &CStr, mode: RawMode) -> io::Result<()> {
    let (directory, name) = (directory.as_raw_fd(), name.as_ptr());
    // SAFETY: the descriptor is open, the name ends with a zero byte, and the kernel only reads it.
    let result = unsafe { syscall(c_long::from(__NR_fchmodat2), directory, name, mode, AT_SYMLINK_NOFOLLOW) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `F_SETLEASE`: takes a read lease on the file and gives it back. EAGAIN while somebody has the file open for writing.
pub(crate) fn can_lease(file: &File) -> io::Result<()> {
    let set = |command: u32, value: c_long| {
        let (number, command) = (c_long::from(file.as_raw_fd()), c_long::from(command));
        // SAFETY: the descriptor is open, and these commands take a number and touch no memory.
        let result = unsafe { syscall(c_long::from(__NR_fcntl), number, command, value) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // Who opens the file for writing meanwhile breaks the lease, of which SIGIO would end the process; nobody minds SIGURG.
    set(F_SETSIG, Signal::URG.as_raw().into())?;
    set(F_SETLEASE, F_RDLCK.into()).and_then(|()| set(F_SETLEASE, F_UNLCK.into()))
}

/// `malloc_trim(3)`, which glibc alone has.
#[cfg(target_env = "gnu")]
pub(crate) fn trim_heap() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> c_int;
    }
    // SAFETY: it takes the allocator's own locks and touches nothing but what is free.
    unsafe { malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::fs::{FlockOperation, flock};

    use super::*;

    /// A lock is held for as long as the file is open that it was taken by.
    #[test]
    fn a_file_is_kept_open_by_its_ring_and_by_nothing_longer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().write(true).open(file.path()).unwrap();
        let (one, other) = (open(), open());
        flock(&one, FlockOperation::NonBlockingLockExclusive).unwrap();
        let ring = match keep_open(one.as_fd()) {
            Err(error) if [Some(Errno::NOSYS), Some(Errno::PERM)].contains(&Errno::from_io_error(&error)) => {
                eprintln!("skipped: a_file_is_kept_open_by_its_ring: needs io_uring ({error})");
                return;
            }
            kept => kept.unwrap(),
        };
        drop(one);
        let taken = || flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(taken(), Err(Errno::WOULDBLOCK));
        drop(ring);
        let end = Instant::now() + Duration::from_secs(30);
        while taken().is_err() {
            assert!(Instant::now() < end, "it is still open");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
