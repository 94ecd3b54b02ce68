//! Sockets that are never there for others to use before they are private.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Who may connect: root alone.
const MODE: u32 = 0o600;

/// A socket that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`, in the place of a socket that an ended process has left there.
    ///
    /// # Errors
    /// The system's error; something that is no socket stays as it is.
    pub(crate) fn listen(path: &Path) -> io::Result<(Self, UnixListener)> {
        if let Some(directory) = path.parent() {
            flexvolume_host::os::atomic::create_directories(directory, 0o750)?;
        }
        if fs::symlink_metadata(path).is_ok_and(|metadata| !is_socket(&metadata)) {
            return Err(io::Error::other("something else than a socket is there; remove it"));
        }
        // Kubelet's watcher passes over what begins with a dot.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden = path.with_file_name(format!(".{name}.new"));
        let _ = fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden)?;
        fs::set_permissions(&hidden, fs::Permissions::from_mode(MODE))?;
        fs::rename(&hidden, path)?;
        Ok((Self { path: path.to_owned() }, listener))
    }

    /// Whether it is still the one that was made.
    pub(crate) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| is_socket(&metadata))
    }
}

fn is_socket(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_socket()
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
