//! The external programs, where they are looked for, and the packages that have them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// Where they are when `PATH` does not say: a daemon may have none, and an ordinary user's lacks the `sbin`s.
const USUAL_DIRECTORIES: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/// An external program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its file name.
    pub name: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// Finds signatures on a device.
pub const BLKID: Tool = Tool { name: "blkid", package: "util-linux" };
/// Makes an ext4 file system.
pub const MKFS_EXT4: Tool = Tool { name: "mkfs.ext4", package: "e2fsprogs" };
/// Checks an ext4 file system.
pub const E2FSCK: Tool = Tool { name: "e2fsck", package: "e2fsprogs" };
/// Grows an ext4 file system.
pub const RESIZE2FS: Tool = Tool { name: "resize2fs", package: "e2fsprogs" };
/// Gives an ext4 file system another UUID.
pub const TUNE2FS: Tool = Tool { name: "tune2fs", package: "e2fsprogs" };
/// Makes an XFS file system.
pub const MKFS_XFS: Tool = Tool { name: "mkfs.xfs", package: "xfsprogs" };
/// Grows a mounted XFS file system.
pub const XFS_GROWFS: Tool = Tool { name: "xfs_growfs", package: "xfsprogs" };
/// Gives an XFS file system another UUID.
pub const XFS_ADMIN: Tool = Tool { name: "xfs_admin", package: "xfsprogs" };
/// Makes a btrfs file system.
pub const MKFS_BTRFS: Tool = Tool { name: "mkfs.btrfs", package: "btrfs-progs" };
/// Grows a mounted btrfs file system.
pub const BTRFS: Tool = Tool { name: "btrfs", package: "btrfs-progs" };

/// Discards or overwrites the blocks of a device.
pub const BLKDISCARD: Tool = Tool { name: "blkdiscard", package: "util-linux" };
/// Checks the metadata of a thin pool; LVM runs it.
pub const THIN_CHECK: Tool = Tool { name: "thin_check", package: "thin-provisioning-tools" };
/// Logical volumes: every command of LVM is an argument of this program.
pub const LVM: Tool = Tool { name: "lvm", package: "lvm2" };
/// Loads a module of the kernel.
pub const MODPROBE: Tool = Tool { name: "modprobe", package: "kmod" };
/// Gives a btrfs file system another UUID.
pub const BTRFSTUNE: Tool = Tool { name: "btrfstune", package: "btrfs-progs" };

/// Keeps locks of NFSv3 across restarts; a daemon, which we only look for.
pub const RPC_STATD: Tool = Tool { name: "rpc.statd", package: "nfs-common" };
/// Gets Kerberos tickets for NFS; a daemon, which we only look for.
pub const RPC_GSSD: Tool = Tool { name: "rpc.gssd", package: "nfs-common" };

/// Mounts SMB shares for mount(8), which we only look for.
pub const MOUNT_CIFS: Tool = Tool { name: "mount.cifs", package: "cifs-utils" };
/// Gets Kerberos tickets for SMB, for the kernel.
pub const CIFS_UPCALL: Tool = Tool { name: "cifs.upcall", package: "cifs-utils" };
/// Starts what answers a question of the kernel.
pub const REQUEST_KEY: Tool = Tool { name: "request-key", package: "keyutils" };
/// Tells the daemon of iSCSI what sessions there shall be.
pub const ISCSIADM: Tool = Tool { name: "iscsiadm", package: "open-iscsi" };

impl Tool {
    /// Looks in `PATH` and then in the usual directories, since a daemon may have no `PATH`.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        self.find_in(&path).or_else(|| self.find_in(OsStr::new(USUAL_DIRECTORIES)))
    }

    /// What to start: the path if it is found, else the bare name, so that the start says that it is missing.
    #[must_use]
    pub fn program(self) -> PathBuf {
        self.find().unwrap_or_else(|| self.name.into())
    }

    fn find_in(self, directories: &OsStr) -> Option<PathBuf> {
        // A relative entry would start whatever lies in the current directory.
        let absolute = std::env::split_paths(directories).filter(|directory| directory.is_absolute());
        absolute.map(|directory| directory.join(self.name)).find(|program| is_executable(program))
    }
}

fn is_executable(program: &Path) -> bool {
    program.is_file() && rustix::fs::access(program, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_executable_file_in_an_absolute_directory_is_found() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directories = std::env::join_paths([Path::new("."), first.path(), second.path()]).unwrap();
        assert_eq!(BLKID.find_in(&directories), None);

        fs::write(first.path().join("blkid"), "not executable").unwrap();
        let program = second.path().join("blkid");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(BLKID.find_in(&directories), Some(program));
    }

    #[test]
    fn a_tool_that_is_nowhere_is_started_by_its_name() {
        let nowhere = Tool { name: "flexvol-no-such-tool", package: "none" };
        assert_eq!(nowhere.find(), None);
        assert_eq!(nowhere.program(), Path::new("flexvol-no-such-tool"));
    }
}
