//! A second process that works on the same stage: the test executable itself, asked to run the test `worker`.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

use flexvolume_host::lifecycle::PodVolume;
use flexvolume_host::spec::MounterArguments;

use super::{Stage, inline, persistent, pod, program, uid};

const STAGE: &str = "FLEXVOL_TEST_STAGE";
const WORK: &str = "FLEXVOL_TEST_WORK";

/// What a worker does for the pod `uid-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Mount,
    Unmount,
}

/// Which volumes the pod has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Volumes {
    /// One of the driver `plain`.
    Plain,
    /// One of the driver `device`.
    Attachable,
    /// One of the driver `v1`.
    OldAttachable,
    /// One of `device`, then one of `failing`.
    AttachableThenFailing,
    /// One of flexvol's own driver `loop`, and one of `loop-ephemeral`.
    Loop,
}

impl Volumes {
    const ALL: [Self; 5] =
        [Self::Plain, Self::Attachable, Self::OldAttachable, Self::AttachableThenFailing, Self::Loop];

    fn of_pod(self) -> Vec<PodVolume> {
        match self {
            Self::Plain => vec![inline("plain", "data")],
            Self::Attachable => vec![persistent("device", "pv-1")],
            Self::OldAttachable => vec![persistent("v1", "pv-1")],
            Self::AttachableThenFailing => vec![persistent("device", "pv-1"), inline("failing", "data")],
            Self::Loop => {
                let mut volumes = vec![persistent("loop", "pv-1"), inline("loop-ephemeral", "data")];
                for volume in &mut volumes {
                    volume.spec.options.insert("size".to_owned(), "1Mi".to_owned());
                }
                volumes
            }
        }
    }
}

/// A process that is to be started.
#[derive(Debug, Clone)]
pub(crate) struct Worker<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) volumes: Volumes,
    pub(crate) work: Work,
    /// `FLEXVOL_FAILPOINT`.
    pub(crate) failpoint: Option<String>,
    /// `FLEXVOL_FAILPOINT_LOG`.
    pub(crate) log: Option<PathBuf>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(stage: &'a Stage, volumes: Volumes, work: Work) -> Self {
        Self { stage, volumes, work, failpoint: None, log: None }
    }

    pub(crate) fn start(&self) -> Child {
        let mut command = program(std::env::current_exe().unwrap());
        command.args(["worker", "--exact", "--nocapture"]);
        // Where flexvol's own drivers keep their images.
        command.env("FLEXVOL_STATE_DIR", self.stage.top().join("state/images"));
        command.env(STAGE, self.stage.top()).env(WORK, format!("{:?} {:?}", self.work, self.volumes));
        command.envs(self.failpoint.iter().map(|setting| ("FLEXVOL_FAILPOINT", setting)));
        command.envs(self.log.iter().map(|file| ("FLEXVOL_FAILPOINT_LOG", file)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn run(&self) -> Output {
        self.start().wait_with_output().unwrap()
    }

    /// Runs it, and it must succeed.
    pub(crate) fn succeed(&self) {
        let output = self.run();
        assert!(output.status.success(), "{self:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// The body of the test `worker`: nothing, unless it is asked to work.
pub(crate) fn work_if_asked() {
    let Some(top) = std::env::var_os(STAGE) else { return };
    let stage = Stage::at(&PathBuf::from(top));
    let asked = std::env::var(WORK).unwrap();
    let (work, volumes) = asked.split_once(' ').unwrap();
    let volumes = Volumes::ALL.into_iter().find(|known| format!("{known:?}") == volumes).unwrap();
    let manager = stage.manager();
    if work == "Mount" {
        manager.mount(&pod("uid-1"), &volumes.of_pod(), MounterArguments::default()).unwrap();
    } else {
        manager.unmount(&uid("uid-1")).unwrap();
    }
}

/// The names in a log of fail points, each once, in the order of their first passing.
pub(crate) fn points(log: &std::path::Path) -> Vec<String> {
    let mut points = Vec::new();
    for name in fs::read_to_string(log).unwrap().lines() {
        if !points.iter().any(|known| known == name) {
            points.push(name.to_owned());
        }
    }
    points
}
