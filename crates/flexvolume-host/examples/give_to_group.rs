//! Gives a tree to a group as the host does for a pod's `fsGroup`, so that it can be measured.
//!
//! ```text
//! give_to_group DIRECTORY GROUP
//! ```
#![expect(clippy::print_stderr, reason = "a program that talks to a person")]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use flexvolume_host::plugin::give_to_group;
use flexvolume_host::spec::FsGroupChangePolicy;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let directory = arguments.next().map(PathBuf::from);
    let group = arguments.next().and_then(|group| group.to_str()?.parse().ok());
    let (Some(directory), Some(group)) = (directory, group) else {
        eprintln!("usage: give_to_group DIRECTORY GROUP");
        return ExitCode::from(2);
    };
    match give_to_group(&directory, group, FsGroupChangePolicy::Always) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
