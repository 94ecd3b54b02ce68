//! `flexvol run`.

use std::ffi::OsString;

use flexvolume_host::contract::PodUid;
use flexvolume_host::lifecycle::{Leaving, PodUse, VolumeManager};
use flexvolume_host::os::runner::{Attached, Ended};
use flexvolume_host::os::signals::Signals;
use flexvolume_host::paths::state_dir;

use crate::args::{Global, RunArguments};
use crate::container::Plan;
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, OK, RUN_FAILED};
use crate::manifest::Container;
use crate::manifest::resolve::{PodPlan, Workload};
use crate::session::Session;
use crate::workload::{check_drivers, load};

pub(super) fn run(global: &Global, arguments: &RunArguments) -> Result<u8, Failure> {
    // Every code below 125 is the command's own.
    attempt(global, arguments).map_err(|failure| failure.with_code(RUN_FAILED))
}

fn attempt(global: &Global, arguments: &RunArguments) -> Result<u8, Failure> {
    let signals = Signals::catch()?;
    let mut workload = load(&arguments.files, global.reading.into())?;
    let plan = take_pod(&mut workload, arguments.pod.as_deref())?;
    let container = choose_container(&plan, arguments.container.as_deref())?;
    let session = Session::new(global, workload.secrets)?;
    check_other_volumes(&session, &plan, container, arguments)?;
    check_drivers(&session, &plan)?;
    let manager = session.manager();
    let pod_use = manager.enter(&plan.pod.uid)?;
    let ran =
        Runner { session: &session, manager: &manager, signals: &signals }.run(&plan, container, arguments);
    let left = leave(pod_use, &manager, &plan.pod.uid);
    conclude(ran, left, &session)
}

/// The pod that is asked for, or the only one.
fn take_pod(workload: &mut Workload, name: Option<&str>) -> Result<PodPlan, Failure> {
    let names: Vec<String> = workload.pods.iter().map(|plan| plan.pod.name.clone()).collect();
    let matching = |plan: &&PodPlan| name.is_none_or(|name| plan.pod.name == name);
    match workload.pods.iter().filter(matching).count() {
        0 => Err(Failure::says(
            NOT_FOUND,
            format_args!(
                "there is no pod {:?} in the manifests, only {}",
                name.unwrap_or_default(),
                names.join(", ")
            ),
        )),
        1 => {
            let index = workload.pods.iter().position(|plan| matching(&plan)).unwrap_or(0);
            Ok(workload.pods.swap_remove(index))
        }
        _ => Err(Failure::says(
            BAD_INPUT,
            format_args!("the manifests have several pods ({}): choose one with --pod", names.join(", ")),
        )),
    }
}

/// The container that is asked for, or the first one.
fn choose_container<'a>(plan: &'a PodPlan, name: Option<&str>) -> Result<&'a Container, Failure> {
    let found = plan.containers.iter().find(|container| name.is_none_or(|name| container.name == name));
    found.ok_or_else(|| {
        let names: Vec<_> = plan.containers.iter().map(|container| container.name.as_str()).collect();
        let pod = &plan.pod.name;
        match name {
            Some(name) => Failure::says(
                NOT_FOUND,
                format_args!("the pod {pod} has no container {name:?}, only {}", names.join(", ")),
            ),
            None => Failure::says(
                BAD_INPUT,
                format_args!("the pod {pod} has no containers: add one with volumeMounts"),
            ),
        }
    })
}

/// A container that mounts something else than FlexVolume would miss it.
fn check_other_volumes(
    session: &Session,
    plan: &PodPlan,
    container: &Container,
    arguments: &RunArguments,
) -> Result<(), Failure> {
    let mut missed = Vec::new();
    for mount in &container.mounts {
        if let Some(kind) = plan.other_volumes.get(&mount.pod_volume) {
            missed.push(format!("{} ({kind}) at {}", mount.pod_volume, mount.mount_path.display()));
        }
    }
    for name in &container.computed_environment {
        session.output.note(format_args!(
            "env {name} of {} has no plain value (valueFrom) and is left out",
            container.name
        ));
    }
    if missed.is_empty() {
        return Ok(());
    }
    let what =
        format!("container {} mounts volumes that are not FlexVolume: {}", container.name, missed.join(", "));
    if arguments.ignore_other_volumes {
        session.output.note(format_args!("{what}; they are left out"));
        return Ok(());
    }
    Err(Failure::says(BAD_INPUT, format_args!("{what}; leave them out with --ignore-other-volumes")))
}

/// What a run needs.
struct Runner<'a> {
    session: &'a Session,
    manager: &'a VolumeManager,
    signals: &'a Signals,
}

impl Runner<'_> {
    /// Mounts the pod's volumes and runs the command with them.
    fn run(&self, plan: &PodPlan, container: &Container, arguments: &RunArguments) -> Result<u8, Failure> {
        let mounted = self.manager.mount(&plan.pod, &plan.volumes, plan.arguments)?;
        if let Some(signal) = self.signals.take() {
            return Ok(signal_code(signal));
        }
        let binds = Plan::new(container, &mounted, state_dir(&self.session.host.root));
        let binds = serde_json::to_string(&binds).map_err(|error| Failure::new(RUN_FAILED, error))?;
        let own = ["container-init".into(), binds.into(), "--".into()];
        let environment = container.environment.iter().map(|(name, value)| (name.into(), value.into()));
        let init = Attached {
            // Ourselves, even if the file has been replaced meanwhile.
            program: "/proc/self/exe".into(),
            arguments: own.into_iter().chain(arguments.command.iter().cloned()).collect::<Vec<OsString>>(),
            environment: environment.collect(),
        };
        match init.run(self.signals) {
            Ok(Ended::Exited(code)) => Ok(u8::try_from(code).unwrap_or(RUN_FAILED)),
            Ok(Ended::Signaled(signal)) => Ok(signal_code(signal)),
            Ok(Ended::TimedOut) => Ok(RUN_FAILED),
            Err(error) => Err(Failure::new(RUN_FAILED, error)),
        }
    }
}

/// As shells do.
fn signal_code(signal: i32) -> u8 {
    u8::try_from(signal).map_or(RUN_FAILED, |signal| 128u8.saturating_add(signal))
}

/// Unmounts the volumes if this was their last use.
fn leave(pod_use: PodUse, manager: &VolumeManager, pod: &PodUid) -> Result<(), Failure> {
    match pod_use.leave()? {
        Leaving::Last(_guard) => Ok(manager.unmount(pod).map(drop)?),
        Leaving::OthersRemain | Leaving::Kept => Ok(()),
    }
}

/// The command's own failure counts more than ours after it, but both are told.
fn conclude(ran: Result<u8, Failure>, left: Result<(), Failure>, session: &Session) -> Result<u8, Failure> {
    match (ran, left) {
        (ran, Ok(())) => ran,
        (Ok(OK), Err(left)) => Err(left),
        (Ok(code), Err(left)) => {
            session.output.failed(&left.with_code(code));
            Ok(code)
        }
        (Err(mut failure), Err(left)) => {
            failure.lines.extend(left.lines);
            Err(failure)
        }
    }
}
