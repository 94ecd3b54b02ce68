//! The UUID of a file system, from its own superblock.
//!
//! `blkid` answers "ambivalent" when a program inside the volume has written the signature of something else to a place
//! where a probe looks. We know the type from the record, so we read the one place that the kernel reads.

use std::io;
use std::os::unix::fs::FileExt;

use flexvolume_os::filesystem::FsType;

struct Layout {
    magic: &'static [u8],
    magic_at: u64,
    uuid_at: u64,
}

/// Offsets from the start of the device: ext4's superblock is at 1024, btrfs' at 64 KiB, xfs' at 0
/// (Linux `fs/ext4/ext4.h`, `fs/btrfs/fs.h`, `fs/xfs/libxfs/xfs_format.h`).
fn layout(fs_type: FsType) -> Option<Layout> {
    match fs_type {
        FsType::Ext4 => Some(Layout { magic: b"\x53\xef", magic_at: 1024 + 0x38, uuid_at: 1024 + 0x68 }),
        FsType::Xfs => Some(Layout { magic: b"XFSB", magic_at: 0, uuid_at: 32 }),
        FsType::Btrfs => Some(Layout { magic: b"_BHRfS_M", magic_at: 0x1_0040, uuid_at: 0x1_0020 }),
        _ => None,
    }
}

/// The UUID of the file system of this type on the image, `None` when its superblock is not there.
pub(crate) fn uuid(image: &impl FileExt, fs_type: FsType) -> io::Result<Option<String>> {
    let Some(layout) = layout(fs_type) else { return Ok(None) };
    let mut magic = [0; 8];
    let magic = magic.get_mut(..layout.magic.len()).unwrap_or_default();
    let mut uuid = [0; 16];
    for (buffer, offset) in [(&mut *magic, layout.magic_at), (&mut uuid[..], layout.uuid_at)] {
        match image.read_exact_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
    }
    Ok((magic == layout.magic).then(|| text(u128::from_be_bytes(uuid))))
}

/// Whether an ext4 was unmounted cleanly, has nothing in its journal, and has never been found damaged: `e2fsck -p` looks
/// at the same and does nothing then (Linux `fs/ext4/ext4.h`: `s_state`, `s_feature_incompat`, `s_error_count`).
pub(crate) fn is_clean_ext4(image: &impl FileExt) -> io::Result<bool> {
    const VALID: u16 = 1;
    const RECOVER: u32 = 4;
    let mut block = [0; 1024];
    image.read_exact_at(&mut block, 1024)?;
    let bytes = |at: usize| block.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 4]);
    let [low, high, ..] = bytes(0x3a);
    let state = u16::from_le_bytes([low, high]);
    let features = u32::from_le_bytes(bytes(0x60));
    let errors = u32::from_le_bytes(bytes(0x194));
    Ok(state == VALID && features & RECOVER == 0 && errors == 0)
}

/// Whether an ext4 keeps other machines from mounting it (`s_feature_incompat`: `EXT4_FEATURE_INCOMPAT_MMP`).
pub(crate) fn has_multi_mount_protection(image: &impl FileExt) -> io::Result<bool> {
    const MMP: u32 = 0x100;
    let mut features = [0; 4];
    image.read_exact_at(&mut features, 1024 + 0x60)?;
    Ok(u32::from_le_bytes(features) & MMP != 0)
}

/// Whether its `mkfs` did not come to an end, though its superblock is there: XFS says so itself (`sb_inprogress`); the
/// others write theirs last.
pub(crate) fn is_unfinished(image: &impl FileExt, fs_type: FsType) -> io::Result<bool> {
    let mut in_progress = [0];
    if fs_type == FsType::Xfs {
        image.read_exact_at(&mut in_progress, 126)?;
    }
    Ok(in_progress != [0])
}

/// `8-4-4-4-12` hexadecimal digits.
fn text(uuid: u128) -> String {
    let digits = format!("{uuid:032x}");
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    groups.map(|range| digits.get(range).unwrap_or_default().to_owned()).join("-")
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// An image with nothing but the magic number and the UUID of `fs_type`.
    fn image(fs_type: FsType) -> File {
        let file = tempfile::tempfile().unwrap();
        let layout = layout(fs_type).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(layout.magic, layout.magic_at).unwrap();
        file.write_all_at(&[0x5a; 16], layout.uuid_at).unwrap();
        file
    }

    #[test]
    fn each_file_system_is_known_by_its_own_superblock_only() {
        let kinds = [FsType::Ext4, FsType::Xfs, FsType::Btrfs];
        for made in kinds {
            for asked in kinds {
                let found = uuid(&image(made), asked).unwrap();
                let expected = (made == asked).then(|| "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a".to_owned());
                assert_eq!(found, expected, "{made:?} {asked:?}");
            }
        }
    }

    #[test]
    fn an_ext4_is_clean_only_if_everything_says_so() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        assert!(!is_clean_ext4(&file).unwrap());
        file.write_all_at(&1_u16.to_le_bytes(), 1024 + 0x3a).unwrap();
        assert!(is_clean_ext4(&file).unwrap());
        for (at, value) in [(0x60, 4_u32), (0x194, 1)] {
            file.write_all_at(&value.to_le_bytes(), 1024 + at).unwrap();
            assert!(!is_clean_ext4(&file).unwrap(), "{at}");
            file.write_all_at(&[0; 4], 1024 + at).unwrap();
        }
        file.write_all_at(&3_u16.to_le_bytes(), 1024 + 0x3a).unwrap();
        assert!(!is_clean_ext4(&file).unwrap());
    }

    #[test]
    fn marks_in_a_superblock_are_seen() {
        let file = image(FsType::Ext4);
        assert!(!has_multi_mount_protection(&file).unwrap());
        file.write_all_at(&0x142_u32.to_le_bytes(), 1024 + 0x60).unwrap();
        assert!(has_multi_mount_protection(&file).unwrap());
        assert!(!is_unfinished(&file, FsType::Xfs).unwrap());
        file.write_all_at(&[1], 126).unwrap();
        assert!(is_unfinished(&file, FsType::Xfs).unwrap() && !is_unfinished(&file, FsType::Ext4).unwrap());
    }

    #[test]
    fn an_image_that_is_too_short_holds_nothing() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(uuid(&file, FsType::Btrfs).unwrap(), None);
    }
}
