//! Facts about block devices.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Size in bytes of a block device or a regular file.
///
/// # Errors
/// The system's error; `InvalidInput` for anything else, such as a directory.
pub fn size(path: &Path) -> io::Result<u64> {
    // Looked at before it is opened: to open a FIFO waits, and to open a tape rewinds it.
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a block device nor a file"));
    }
    // The end of a block device is its size (lseek(2)), without an ioctl.
    File::open(path)?.seek(SeekFrom::End(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_length_and_a_directory_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("image");
        File::create(&file).unwrap().set_len(12_345_678_901).unwrap();
        assert_eq!(size(&file).unwrap(), 12_345_678_901);
        assert_eq!(size(directory.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(size(Path::new("/dev/null")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(size(&directory.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
