//! The text files of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A text file.
#[derive(Debug)]
pub(super) struct TextFile {
    /// Its path below the root.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) text: String,
}

/// Folders that hold no text of ours: build output, history, and recorded foreign texts.
const SKIPPED_FOLDERS: [&str; 4] = ["target", ".git", "fixtures", "corpus"];

/// The kinds of files that are read; a file without a dot counts as a script.
const EXTENSIONS: [&str; 7] = ["rs", "md", "toml", "sh", "yaml", "yml", "lock"];

/// Every text file below `root`, sorted by path. Symlinks are not followed.
pub(super) fn all(root: &Path) -> Result<Vec<TextFile>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && !SKIPPED_FOLDERS.iter().any(|name| entry.file_name() == *name) {
                folders.push(path);
            } else if kind.is_file() && is_text(&path) {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                found.push(TextFile { path: path.strip_prefix(root).unwrap_or(&path).to_owned(), text });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn is_text(path: &Path) -> bool {
    match path.extension() {
        Some(extension) => EXTENSIONS.iter().any(|known| extension == *known),
        None => path.parent().is_some_and(|folder| folder.file_name() == Some(".ci".as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_output_is_left_out_and_scripts_are_read() {
        let root = tempfile::tempdir().unwrap();
        for path in ["target/a.rs", "src/b.rs", ".ci/run", "src/c.bin", "tests/fixtures/d.md"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let found: Vec<_> = all(root.path()).unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(found, [Path::new(".ci/run"), Path::new("src/b.rs")]);
    }
}
