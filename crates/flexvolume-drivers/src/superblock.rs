//! The UUID of a file system, from its own superblock.
//!
//! `blkid` answers "ambivalent" when a program inside the volume has written the signature of something else to a place
//! where a probe looks. We know the type from the record, so we read the one place that the kernel reads.

use std::fs::File;
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
pub(crate) fn uuid(image: &File, fs_type: FsType) -> io::Result<Option<String>> {
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

/// `8-4-4-4-12` hexadecimal digits.
fn text(uuid: u128) -> String {
    let digits = format!("{uuid:032x}");
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    groups.map(|range| digits.get(range).unwrap_or_default().to_owned()).join("-")
}

#[cfg(test)]
mod tests {
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
    fn an_image_that_is_too_short_holds_nothing() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(uuid(&file, FsType::Btrfs).unwrap(), None);
    }
}
