//! One file per command.

mod call;
mod completions;
mod conformance;
mod container_init;
mod doctor;
mod driver_describe;
mod driver_explain;
mod driver_health;
mod driver_install;
mod driver_install_all;
mod driver_list;
mod driver_remove;
mod events;
mod in_user_namespace;
mod mount;
mod probe_mounts;
mod resize;
mod retry;
mod run;
mod statfs;
mod status;
mod status_agent;
mod unmount;
mod volume_create;
mod volume_delete;
mod volume_list;
mod volume_resize;
mod volume_show;
mod wait;

use crate::args::{Arguments, Command, DriverCommand, Global, VolumeCommand};
use crate::failure::Failure;

/// Carries out the command; answers the exit code.
///
/// # Errors
/// [`Failure`], with the exit code and the words for it.
pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Driver(DriverCommand::List(_)) => driver_list::run(global),
        Command::Driver(DriverCommand::Describe(arguments)) => driver_describe::run(global, arguments),
        Command::Driver(DriverCommand::Install(arguments)) => driver_install::run(global, arguments),
        Command::Driver(DriverCommand::Upgrade(arguments)) => driver_install::upgrade(global, arguments),
        Command::Driver(DriverCommand::Health(arguments)) => driver_health::run(global, arguments),
        Command::Driver(DriverCommand::Remove(arguments)) => driver_remove::run(global, arguments),
        Command::Driver(DriverCommand::Explain(arguments)) => driver_explain::run(global, arguments),
        Command::Call(arguments) => call::run(global, arguments),
        Command::Conformance(arguments) => conformance::run(global, arguments),
        Command::ConformanceFence(arguments) => conformance::fence(arguments),
        Command::Mount(arguments) => mount::run(global, arguments),
        Command::Unmount(arguments) => unmount::run(global, arguments),
        Command::Volume(command) => volume(global, command),
        Command::Doctor(arguments) => doctor::run(global, arguments),
        Command::Resize(arguments) => resize::run(global, arguments),
        Command::Status(arguments) => status::run(global, arguments),
        Command::Statfs(arguments) => statfs::run(arguments),
        Command::Agent(arguments) => crate::agent::run(global, arguments),
        Command::ProbeMounts(arguments) => probe_mounts::run(arguments),
        Command::Wait(arguments) => wait::run(global, arguments),
        Command::Events(arguments) => events::run(global, arguments),
        Command::Retry(arguments) => retry::run(global, arguments),
        Command::Run(arguments) => run::run(global, arguments),
        Command::Completions(arguments) => completions::completions(arguments.shell),
        Command::Man(arguments) => completions::man(&arguments.directory),
        Command::ContainerInit(arguments) => container_init::run(arguments),
        Command::InUserNamespace(arguments) => in_user_namespace::run(arguments),
    }
}

fn volume(global: &Global, command: &VolumeCommand) -> Result<u8, Failure> {
    match command {
        VolumeCommand::List(arguments) => volume_list::run(global, arguments),
        VolumeCommand::Show(arguments) => volume_show::run(global, arguments),
        VolumeCommand::Create(arguments) => volume_create::run(global, arguments),
        VolumeCommand::Delete(arguments) => volume_delete::run(global, arguments),
        VolumeCommand::Resize(arguments) => volume_resize::run(global, arguments),
        VolumeCommand::Snapshot(arguments) => volume_create::snapshot(global, arguments),
    }
}
