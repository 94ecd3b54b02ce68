//! `flexvol in-user-namespace`: for ordinary users and demonstrations.

use flexvolume_host::os::namespace::enter_user_namespace;

use super::container_init::become_command;
use crate::args::InUserNamespaceArguments;
use crate::failure::{Failure, RUN_FAILED};

pub(super) fn run(arguments: &InUserNamespaceArguments) -> Result<u8, Failure> {
    enter_user_namespace().map_err(|error| {
        let words = "this system lets you have no user namespace (it needs kernel.unprivileged_userns_clone=1, no AppArmor restriction, and no container that forbids it)";
        Failure::says(RUN_FAILED, format_args!("{words}: {error}"))
    })?;
    Err(become_command(&arguments.command))
}
